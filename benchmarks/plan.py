"""Which loads a run consists of, and how long they last."""

from dataclasses import dataclass, field

from benchmarks.photos import MIDDLE, PHONE

MIX = "mix"
WARM_UP_CLIENTS = 16


@dataclass(frozen=True)
class Loading:
    """One load: *clients* in a closed loop, or an open loop at *share* of what the closed loop reached."""

    photos: str
    """A size of benchmarks/photos.py, or MIX for all of them in turn."""
    clients: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        if self.share:
            return f"{self.photos}, open loop at {self.share:.0%}"
        return f"{self.photos}, {self.clients} client{'s' if self.clients > 1 else ''}"


ONE_CLIENT = Loading(MIDDLE, 1)
CAPACITY = Loading(MIDDLE, 16)
PHONE_CLIENT = Loading(PHONE, 1)
"""The three that DESIGN.md's figures come from."""

_MIXED = tuple(Loading(MIX, clients) for clients in (1, 16, 4, 64))
_OPEN = tuple(Loading(MIX, share=share) for share in (0.5, 0.9))


@dataclass(frozen=True)
class Plan:
    rounds: int
    seconds: float
    """Of each load; a slow server gets more, up to *max_seconds*, for two answers a client and *min_answers* in all."""
    warm_up_s: float = 4.0
    """At 16 clients: Java takes 1.9 ms a photo in its first 2 s, 0.9 in the next, 0.7 after 4."""
    max_seconds: float = 10.0
    min_answers: int = 100
    """What a p99 takes."""
    loadings: tuple[Loading, ...] = field(default=(ONE_CLIENT, CAPACITY, PHONE_CLIENT, *_MIXED, *_OPEN))
    batches: tuple[int, ...] = (1, 4, 8)
    """Of the ceiling."""

    def seconds_for(self, loading: Loading, photos_per_s: float) -> float:
        """Return how long *loading* lasts on a server that is known to answer *photos_per_s*, 0 if it is not known."""
        if not photos_per_s:
            return self.seconds
        rate = photos_per_s * (loading.share or 1.0)
        enough = max(2 * loading.clients, self.min_answers) / rate
        return min(max(self.seconds, enough), max(self.seconds, self.max_seconds))


FULL = Plan(rounds=3, seconds=2.0)
QUICK = Plan(
    rounds=1,
    seconds=2.0,
    warm_up_s=2.0,
    max_seconds=5.0,
    min_answers=20,
    loadings=(ONE_CLIENT, CAPACITY, PHONE_CLIENT, Loading(MIX, 16), Loading(MIX, share=0.9)),
    batches=(4,),
)
