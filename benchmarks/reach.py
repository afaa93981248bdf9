"""The figures that fruity wants to reach, each a ratio or a sum within one round, and whether it does."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks.plan import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Loading
from benchmarks.results import CEILING, DEFAULT, Run, Scene, Spread, Visit

# What decoding a photo of 12 megapixels costs beyond one of 512x512.
_PHONE_EXTRA_MS = 12.0


class _Missing(Exception):
    """A contender or a load that the figure needs was not measured in this round."""


class _Round:
    """One round's visits on one archive with all cores."""

    def __init__(self, visits: Iterable[Visit]) -> None:
        self._visits = list(visits)

    def scenes(self, name: str | None, way: str, loading: Loading) -> list[Scene]:
        """Return what *loading* gave with *name* (None: everyone of that way); raise `_Missing` if nothing did."""
        found = [
            scene
            for visit in self._visits
            if visit.way == way and name in (None, visit.name)
            for scene in visit.scenes
            if scene.name == loading.name and scene.photos_per_s > 0
        ]
        if not found:
            raise _Missing
        return found

    def speed(self, name: str | None, way: str) -> float:
        """Return the photos a second of *name*, or of the fastest of that way."""
        return max(scene.photos_per_s for scene in self.scenes(name, way, CAPACITY))

    def p50_ms(self, name: str, way: str, loading: Loading) -> float:
        return _known(self.scenes(name, way, loading)[0].p50_ms)

    def start_s(self, name: str, way: str) -> float:
        return _known(self._visit(name, way).start_s)

    def pss_mb(self, name: str, way: str) -> float:
        return _known(self._visit(name, way).pss_mb)

    def _visit(self, name: str, way: str) -> Visit:
        found = [visit for visit in self._visits if (visit.name, visit.way) == (name, way)]
        if not found:
            raise _Missing
        return found[0]


def _known(value: float | None) -> float:
    if value is None:
        raise _Missing
    return value


@dataclass(frozen=True)
class Goal:
    what: str
    bound: float
    at_least: bool
    figure: Callable[[_Round], float]

    @property
    def reach(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def is_met(self, spread: Spread) -> bool:
        return spread.median >= self.bound if self.at_least else spread.median <= self.bound


_FRUITY = ("fruity", "fruity")
_BESIDE_FASTAPI = Goal(
    "photos/s, of FastAPI with the same engine", 1.15, True, lambda r: _faster(r, "FastAPI", "same engine")
)
GOALS = (
    Goal("photos/s, of the ceiling of all cores", 0.95, True, lambda r: r.speed(*_FRUITY) / r.speed(None, CEILING)),
    _BESIDE_FASTAPI,
    Goal("photos/s, of LitServe with the same engine", 1.6, True, lambda r: _faster(r, "LitServe", "same engine")),
    Goal("photos/s, of FastAPI in its usual way", 17, True, lambda r: _faster(r, "FastAPI", "usual way")),
    Goal("photos/s, of LitServe in its usual way", 17, True, lambda r: _faster(r, "LitServe", "usual way")),
    Goal("photos/s, of BentoML in its usual way", 17, True, lambda r: _faster(r, "BentoML", "usual way")),
    Goal("photos/s, of Ray Serve in its usual way", 17, True, lambda r: _faster(r, "Ray Serve", "usual way")),
    Goal(
        # handler/neighbours.py: a worker whose neighbours have nothing to do takes their cores, too.
        "one client, p50, of FastAPI's with the same engine (fruity's lone worker on all cores, FastAPI's on one)",
        1.0,
        False,
        lambda r: r.p50_ms(*_FRUITY, ONE_CLIENT) / r.p50_ms("FastAPI", "same engine", ONE_CLIENT),
    ),
    Goal(
        "start to the first right answer, of the eager FastAPI's",
        0.3,
        False,
        lambda r: r.start_s(*_FRUITY) / r.start_s("FastAPI", "usual way"),
    ),
    Goal("memory of all processes, PSS in MB", 450, False, lambda r: r.pss_mb(*_FRUITY)),
    Goal(
        f"12-megapixel photo, one client, (p50 - {_PHONE_EXTRA_MS:.0f} ms) / p50 of 512x512",
        1.5,
        False,
        lambda r: (r.p50_ms(*_FRUITY, PHONE_CLIENT) - _PHONE_EXTRA_MS) / r.p50_ms(*_FRUITY, ONE_CLIENT),
    ),
)


def _faster(measured: _Round, name: str, way: str) -> float:
    return measured.speed(*_FRUITY) / measured.speed(name, way)


def measure_goals(run: Run) -> Iterator[tuple[Goal, Spread | None]]:
    """Yield each goal with its figure's spread over the rounds; None where a round had no such measurement.

    On the default archive all; on another, where the run measured one, the goal beside FastAPI with the same engine.
    """
    for archive in {DEFAULT: None} | dict.fromkeys(visit.archive for visit in run.visits):
        rounds = [_Round(_visits_of(run, archive, number)) for number in range(run.rounds)]
        for goal in GOALS if archive == DEFAULT else (_name_archive(_BESIDE_FASTAPI, archive),):
            yield goal, Spread.of(_figure(goal, measured) for measured in rounds)


def _visits_of(run: Run, archive: str, number: int) -> Iterator[Visit]:
    for visit in run.visits:
        if (visit.archive, visit.cores, visit.round) == (archive, run.machine.cores, number):
            yield visit


def _name_archive(goal: Goal, archive: str) -> Goal:
    return dataclasses.replace(goal, what=f"{goal.what}, {archive}")


def _figure(goal: Goal, measured: _Round) -> float | None:
    try:
        return goal.figure(measured)
    except _Missing:
        return None
