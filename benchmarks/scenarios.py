"""The loads that a benchmark puts on a server, and how long each lasts."""

from dataclasses import dataclass

from benchmarks.sample_photos import MIDDLE, MIX, PHONE

WARM_UP_CLIENTS = 16


@dataclass(frozen=True)
class Scenario:
    """One load: *clients* in a closed loop, or an open loop at *share* of the closed loop's photos/s."""

    photos: str
    clients: int = 0
    share: float = 0.0

    @property
    def name(self) -> str:
        if self.share:
            return f"{self.photos}, open loop at {self.share:.0%}"
        return f"{self.photos}, {self.clients} client{'s' if self.clients > 1 else ''}"


ONE_CLIENT, CAPACITY, PHONE_CLIENT = TARGETED = Scenario(MIDDLE, 1), Scenario(MIDDLE, 16), Scenario(PHONE, 1)
"""Those that the targets (ARCHITECTURE.md, "Numbers to reach") are measured with."""


@dataclass(frozen=True)
class Plan:
    """How often and how long each scenario runs."""

    rounds: int
    scenarios: tuple[Scenario, ...]
    batches: tuple[int, ...]
    """Of the ceiling."""
    warm_up_s: float
    """At 16 clients: Java takes 1.9 ms a photo in its first 2 s, 0.9 in the next, 0.7 after 4."""
    max_seconds: float
    min_answers: int
    seconds: float = 2.0
    """Of each load; a slow server gets more, up to *max_seconds*, for two answers a client and *min_answers* in all."""

    def seconds_for(self, scenario: Scenario, photos_per_s: float) -> float:
        """Return how long *scenario* lasts on a server that answers *photos_per_s*, 0 if that is not known."""
        if not photos_per_s:
            return self.seconds
        rate = photos_per_s * (scenario.share or 1.0)
        enough = max(2 * scenario.clients, self.min_answers) / rate
        return min(max(self.seconds, enough), max(self.seconds, self.max_seconds))


_MIXES = tuple(Scenario(MIX, clients) for clients in (1, 16, 4, 64))
_OPEN_LOOPS = tuple(Scenario(MIX, share=share) for share in (0.5, 0.9))
# A p99 takes 100 answers.
FULL = Plan(3, (*TARGETED, *_MIXES, *_OPEN_LOOPS), (1, 4, 8), warm_up_s=4.0, max_seconds=10.0, min_answers=100)
_QUICK_SCENARIOS = (*TARGETED, Scenario(MIX, 16), Scenario(MIX, share=0.9))
QUICK = Plan(1, _QUICK_SCENARIOS, (4,), warm_up_s=2.0, max_seconds=5.0, min_answers=20)
