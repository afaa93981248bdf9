"""The numbers to reach (ARCHITECTURE.md), each taken within one round, and whether a run reaches them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.bench_results import CEILING, DEFAULT, Run, Spread
from benchmarks.entries import EAGER_CEILING
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, PHONE_CLIENT, Scenario

_Figures = Mapping[tuple[str, str, str, str], float]
"""What a round measured, by name, way, scenario ("" for the whole trial) and figure; what is missing has no key."""

_FRUITY = ("fruity", "fruity")
_OF_A_SCENARIO = ("photos_per_s", "p50_ms", "p99_ms", "cpu_ms_per_photo")


@dataclass(frozen=True)
class Target:
    what: str
    bound: float
    at_least: bool
    figure: Callable[[_Figures], float]
    """Raises `KeyError` if a measurement that it needs is missing."""
    for_all_archives: bool = False
    """Else for the default one alone."""

    @property
    def limit(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"

    def is_reached(self, spread: Spread) -> bool:
        return spread.median >= self.bound if self.at_least else spread.median <= self.bound


def _beside(name: str, figure: str, scenario: str = CAPACITY.name) -> Callable[[_Figures], float]:
    """Return fruity's figure over that of a peer with the same engine."""
    return lambda figures: figures[*_FRUITY, scenario, figure] / figures[name, "same engine", scenario, figure]


def _beside_usual_way(name: str) -> Callable[[_Figures], float]:
    """Return the photos/s over the peer's, relative to what the engine alone gives over eager PyTorch."""
    key = (CAPACITY.name, "photos_per_s")
    return lambda figures: (
        (figures[*_FRUITY, *key] / figures[name, "usual way", *key])
        / (max(_ceilings(figures, *key)) / figures[EAGER_CEILING, CEILING, *key])
    )


def _cpu_over_ceiling(scenario: Scenario) -> Callable[[_Figures], float]:
    key = (scenario.name, "cpu_ms_per_photo")
    return lambda figures: figures[*_FRUITY, *key] / min(_ceilings(figures, *key))


def _ceilings(figures: _Figures, scenario: str, figure: str) -> list[float]:
    """Return the figure with each batch without a server; raise `KeyError`."""
    found = [value for key, value in figures.items() if key[1:] == (CEILING, scenario, figure)]
    if not found:
        raise KeyError(CEILING)
    return found


TARGETS = (
    Target("CPU ms a photo, of the ceiling's", 1.08, False, _cpu_over_ceiling(CAPACITY)),
    Target("photos/s, of FastAPI with the same engine", 1.05, True, _beside("FastAPI", "photos_per_s"), True),
    Target("p99, of FastAPI's with the same engine", 0.5, False, _beside("FastAPI", "p99_ms")),
    Target("photos/s, of LitServe with the same engine", 1.3, True, _beside("LitServe", "photos_per_s")),
    *(
        Target(f"photos/s, of {name} in its usual way, over (ceiling / eager)", 0.9, True, _beside_usual_way(name))
        for name in ("FastAPI", "LitServe", "BentoML", "Ray Serve")
    ),
    Target(
        "one client, p50, of FastAPI's with the same engine (fruity's busy worker on all cores, FastAPI's on one)",
        1.0,
        False,
        _beside("FastAPI", "p50_ms", ONE_CLIENT.name),
    ),
    Target("start to the first right answer, of FastAPI's with the same engine", 1.2, False,
           _beside("FastAPI", "start_s", "")),
    Target("memory of all processes, PSS in MB", 450, False, lambda figures: figures[*_FRUITY, "", "pss_mb"]),
    Target("12-megapixel photo, one client, CPU ms of the ceiling's", 1.25, False, _cpu_over_ceiling(PHONE_CLIENT)),
)  # fmt: skip


def measure_targets(run: Run) -> Iterator[tuple[str, Target, Spread | None]]:
    """Yield what each target measures, the target, and its spread over the rounds; None where it was not measured."""
    for archive in dict.fromkeys([DEFAULT, *(trial.archive for trial in run.trials)]):
        rounds = [_figures_of(run, archive, number) for number in range(run.rounds)]
        for target in TARGETS:
            if archive == DEFAULT or target.for_all_archives:
                what = target.what if archive == DEFAULT else f"{target.what}, {archive}"
                yield what, target, Spread.of(_compute(target, figures) for figures in rounds)


def _figures_of(run: Run, archive: str, number: int) -> _Figures:
    figures: dict[tuple[str, str, str, str], float | None] = {}
    for trial in run.trials:
        if (trial.archive, trial.cores, trial.round) == (archive, run.machine.cores, number):
            row = (trial.name, trial.way)
            figures |= {(*row, "", name): getattr(trial, name) for name in ("start_s", "pss_mb")}
            for result in trial.results:
                figures |= {(*row, result.name, name): getattr(result, name) for name in _OF_A_SCENARIO}
    # A rate of 0 and a latency without answers are not measurements.
    return {key: value for key, value in figures.items() if value}


def _compute(target: Target, figures: _Figures) -> float | None:
    try:
        return target.figure(figures)
    except KeyError:
        return None
