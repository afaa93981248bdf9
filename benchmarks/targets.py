"""The numbers to reach (ARCHITECTURE.md), each taken within one round, and whether a run reaches them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.bench_results import CEILING, DEFAULT, Run, Spread, Trial
from benchmarks.entries import EAGER_CEILING
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Scenario

_FRUITY = ("fruity", "fruity")
_FASTAPI = ("FastAPI", "same engine")


class _Missing(Exception):
    """What the figure is made from was not measured in this round."""


@dataclass(frozen=True)
class _Round:
    """One round's trials on one archive with all cores; every method raises `_Missing`."""

    trials: list[Trial]

    def of_trial(self, figure: str, name: str, way: str) -> float:
        """Return start_s or pss_mb."""
        return _known([getattr(trial, figure) for trial in self._trials_of(name, way)])[0]

    def of_scenario(self, figure: str, name: str, way: str, scenario: Scenario = CAPACITY) -> float:
        """Return a field of `ScenarioResult`, as photos_per_s."""
        return self._of_scenario(figure, self._trials_of(name, way), scenario)[0]

    def ceiling(self, figure: str, scenario: Scenario = CAPACITY) -> list[float]:
        """Return the figure with each batch, without a server."""
        return self._of_scenario(figure, [trial for trial in self.trials if trial.way == CEILING], scenario)

    def _trials_of(self, name: str, way: str) -> list[Trial]:
        return [trial for trial in self.trials if (trial.name, trial.way) == (name, way)]

    def _of_scenario(self, figure: str, trials: list[Trial], scenario: Scenario) -> list[float]:
        results = [result for trial in trials for result in trial.results if result.name == scenario.name]
        return _known([getattr(result, figure) for result in results])


def _known(values: list[float | None]) -> list[float]:
    known = [value for value in values if value]
    if not known:
        raise _Missing
    return known


@dataclass(frozen=True)
class Target:
    what: str
    bound: float
    at_least: bool
    figure: Callable[[_Round], float]
    for_all_archives: bool = False
    """Else for the default one alone."""

    @property
    def limit(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def is_reached(self, spread: Spread) -> bool:
        return spread.median >= self.bound if self.at_least else spread.median <= self.bound


def _beside(name: str, figure: str = "photos_per_s", scenario: Scenario = CAPACITY) -> Callable[[_Round], float]:
    """Return fruity's figure over that of a peer with the same engine."""
    return lambda r: r.of_scenario(figure, *_FRUITY, scenario) / r.of_scenario(figure, name, "same engine", scenario)


def _beside_usual_way(name: str) -> Callable[[_Round], float]:
    """Return the photos/s over the peer's, relative to what the engine alone gives over eager PyTorch."""

    def figure(r: _Round) -> float:
        engine = max(r.ceiling("photos_per_s")) / r.of_scenario("photos_per_s", EAGER_CEILING, CEILING)
        return r.of_scenario("photos_per_s", *_FRUITY) / r.of_scenario("photos_per_s", name, "usual way") / engine

    return figure


def _cpu_over_ceiling(scenario: Scenario) -> Callable[[_Round], float]:
    return lambda r: (
        r.of_scenario("cpu_ms_per_photo", *_FRUITY, scenario) / min(r.ceiling("cpu_ms_per_photo", scenario))
    )


TARGETS = (
    Target("CPU ms a photo, of the ceiling's", 1.08, False, _cpu_over_ceiling(CAPACITY)),
    Target("photos/s, of FastAPI with the same engine", 1.05, True, _beside("FastAPI"), for_all_archives=True),
    Target("p99, of FastAPI's with the same engine", 0.5, False, _beside("FastAPI", "p99_ms")),
    Target("photos/s, of LitServe with the same engine", 1.3, True, _beside("LitServe")),
    *(
        Target(f"photos/s, of {name} in its usual way, over (ceiling / eager)", 0.9, True, _beside_usual_way(name))
        for name in ("FastAPI", "LitServe", "BentoML", "Ray Serve")
    ),
    # A worker of fruity's takes the cores of idle ones, FastAPI's have one thread each.
    Target("one client, p50, of FastAPI's with the same engine", 1.0, False, _beside("FastAPI", "p50_ms", ONE_CLIENT)),
    Target(
        "start to the first right answer, of FastAPI's with the same engine",
        1.2,
        False,
        lambda r: r.of_trial("start_s", *_FRUITY) / r.of_trial("start_s", *_FASTAPI),
    ),
    Target("memory of all processes, PSS in MB", 450, False, lambda r: r.of_trial("pss_mb", *_FRUITY)),
    Target("12-megapixel photo, one client, CPU ms of the ceiling's", 1.25, False, _cpu_over_ceiling(PHONE_CLIENT)),
)


def measure_targets(run: Run) -> Iterator[tuple[str, Target, Spread | None]]:
    """Yield what each target measures, the target, and its spread over the rounds; None where it was not measured."""
    for archive in dict.fromkeys([DEFAULT, *(trial.archive for trial in run.trials)]):
        for target in TARGETS:
            if archive == DEFAULT or target.for_all_archives:
                what = target.what if archive == DEFAULT else f"{target.what}, {archive}"
                yield what, target, Spread.of(_figure(target, run, archive, number) for number in range(run.rounds))


def _figure(target: Target, run: Run, archive: str, number: int) -> float | None:
    key = (archive, run.machine.cores, number)
    try:
        return target.figure(_Round([one for one in run.trials if (one.archive, one.cores, one.round) == key]))
    except _Missing:
        return None
