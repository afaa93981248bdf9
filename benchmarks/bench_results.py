"""What a benchmark measured: written as bench.json, read by the table and the plot."""

import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
import psutil

from benchmarks.load import Load
from serving.model_store import BUILD

OUT = BUILD / "bench"
CEILING: Final = "ceiling"
DEFAULT = "default"
# Those that a network's speed depends on, as /proc/cpuinfo names them.
_INSTRUCTION_SETS = ("amx_tile", "avx512_vnni", "avx512_bf16", "avx512f", "avx_vnni", "avx2")


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one server; a latency is None where too few answers were right (`Load.percentile_ms`)."""

    name: str
    photos_per_s: float
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    errors: dict[str, int] = {}
    cpu_ms_per_photo: float | None = None  # of all right answers, also those that came too late to count as throughput

    @classmethod
    def of(cls, name: str, load: Load, cpu_s: float) -> "ScenarioResult":
        num_answered = len(load.latencies_ms) + load.num_late
        return cls(
            name=name,
            photos_per_s=load.photos_per_s,
            **{f"p{percent}_ms": load.percentile_ms(percent) for percent in (50, 95, 99)},
            errors=dict(load.errors),
            cpu_ms_per_photo=cpu_s * 1000 / num_answered if num_answered else None,
        )


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one round, from its start to its end."""

    name: str
    way: str
    archive: str = DEFAULT
    cores: int
    round: int
    results: list[ScenarioResult] = []
    start_s: float | None = None  # from the start of its process to the first right answer
    pss_mb: float | None = None
    failure: str | None = None

    def figure(self, scenario: str, name: str) -> float | None:
        """Return the figure *name* of a scenario's result, or of the whole trial for ""; None if not measured."""
        measured = [result for result in self.results if result.name == scenario] if scenario else [self]
        return getattr(measured[0], name) if measured else None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    instruction_sets: list[str] = []
    cores: int
    memory_gb: float
    system: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    machine: Machine
    rounds: int
    seconds: float
    trials: list[Trial]

    def rows(self) -> list[list[Trial]]:
        """Return the trials of each line of the table, in the order of the first."""
        rows: dict[tuple[str, str, str, int], list[Trial]] = defaultdict(list)
        for trial in self.trials:
            rows[trial.name, trial.way, trial.archive, trial.cores].append(trial)
        return list(rows.values())


def read_rounds(row: Iterable[Trial], scenario: str, figure: str) -> list[float]:
    """Return one *figure*, as `Trial.figure` names it, of each round that measured it."""
    return [value for trial in row if (value := trial.figure(scenario, figure)) is not None]


def describe_machine() -> Machine:
    """Return this machine's CPU, the cores that this process may use, its memory and its system."""
    cpu_info = Path("/proc/cpuinfo").read_text()
    names = re.findall(r"^model name\s*: (.*)$", cpu_info, re.MULTILINE)
    return Machine(
        cpu=names[0] if names else platform.machine(),
        instruction_sets=[name for name in _INSTRUCTION_SETS if name in cpu_info.split()],
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def write_json(path: Path, value: object) -> str:
    """Write *value* as indented JSON, into a new folder if need be; return the text."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text
