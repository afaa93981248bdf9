"""The numbers to reach (ARCHITECTURE.md), each taken within one round, and whether a run reaches them."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from benchmarks.bench_results import CEILING, DEFAULT, Run, Spread
from benchmarks.contenders import EAGER_CEILING
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, PHONE_CLIENT

_Figures = Mapping[tuple[str, str, str, str], float]
"""What a round measured, by name, way, scenario ("" for the whole trial) and figure; what is missing has no key."""

_SPEED = (CAPACITY.name, "photos_per_s")
_CPU = "cpu_ms_per_photo"


class Target(NamedTuple):
    what: str
    sign: Literal["≥", "≤"]
    bound: float
    key: tuple[str, str]
    """The scenario and the figure of fruity's."""
    beside: tuple[str, str] | None = None
    """The name and the way of what it is divided by."""

    def is_reached(self, spread: Spread) -> bool:
        return spread.median >= self.bound if self.sign == "≥" else spread.median <= self.bound


_CEILING, _FASTAPI, _LITSERVE = ("", CEILING), ("FastAPI", "same engine"), ("LitServe", "same engine")
_ONE_CLIENT = "one client, p50, of FastAPI's with the same engine (fruity's busy worker on all cores, FastAPI's on one)"
_START = "start to the first right answer, of FastAPI's with the same engine"
_PHONE = "12-megapixel photo, one client, CPU ms of the ceiling's"
# For every archive; the others are for the default one.
_BESIDE_FASTAPI = Target("photos/s, of FastAPI with the same engine", "≥", 1.05, _SPEED, _FASTAPI)
TARGETS = (
    Target("CPU ms a photo, of the ceiling's", "≤", 1.08, (CAPACITY.name, _CPU), _CEILING),
    _BESIDE_FASTAPI,
    Target("p99, of FastAPI's with the same engine", "≤", 0.5, (CAPACITY.name, "p99_ms"), _FASTAPI),
    Target("photos/s, of LitServe with the same engine", "≥", 1.3, _SPEED, _LITSERVE),
    *(
        Target(f"photos/s, of {name} in its usual way, over (ceiling / eager)", "≥", 0.9, _SPEED, (name, "usual way"))
        for name in ("FastAPI", "LitServe", "BentoML", "Ray Serve")
    ),
    Target(_ONE_CLIENT, "≤", 1.0, (ONE_CLIENT.name, "p50_ms"), _FASTAPI),
    Target(_START, "≤", 1.2, ("", "start_s"), _FASTAPI),
    Target("memory of all processes, PSS in MB", "≤", 450, ("", "pss_mb")),
    Target(_PHONE, "≤", 1.25, (PHONE_CLIENT.name, _CPU), _CEILING),
)


def measure_targets(run: Run) -> Iterator[tuple[str, Target, Spread | None]]:
    """Yield what each target measures, the target, and its spread over the rounds; None where it was not measured."""
    for archive in dict.fromkeys([DEFAULT, *(trial.archive for trial in run.trials)]):
        rounds = [_figures_of(run, archive, number) for number in range(run.rounds)]
        for target in TARGETS if archive == DEFAULT else [_BESIDE_FASTAPI]:
            what = target.what if archive == DEFAULT else f"{target.what}, {archive}"
            yield what, target, Spread.of(_compute(target, figures) for figures in rounds)


def _figures_of(run: Run, archive: str, number: int) -> _Figures:
    figures: dict[tuple[str, str, str, str], float | None] = {}
    for trial in run.trials:
        if (trial.archive, trial.cores, trial.round) == (archive, run.machine.cores, number):
            row = (trial.name, trial.way)
            figures |= {(*row, "", name): getattr(trial, name) for name in ("start_s", "pss_mb")}
            for result in trial.results:
                figures |= {(*row, result.name, name): getattr(result, name) for name in result.__struct_fields__}
    # A rate of 0 and a latency without answers are not measurements.
    return {key: value for key, value in figures.items() if value}


def _compute(target: Target, figures: _Figures) -> float | None:
    """Return what the round measured for *target*, None if a figure that it needs is missing."""
    ceilings = [value for key, value in figures.items() if key[1:] == (CEILING, *target.key)]
    try:
        ours = figures["fruity", "fruity", *target.key]
        if target.beside is None:
            return ours
        if target.beside == _CEILING:
            return ours / min(ceilings)
        ratio = ours / figures[*target.beside, *target.key]
        if target.beside[1] == "same engine":
            return ratio
        # Relative to what the engine alone gives over eager PyTorch.
        return ratio / (max(ceilings) / figures[EAGER_CEILING.name, CEILING, *target.key])
    except (KeyError, ValueError):
        return None
