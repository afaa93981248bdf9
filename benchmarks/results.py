"""What a run measured: written as bench.json, read by the table, the plot and the cost page."""

import math
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.load import Load

CEILING = "ceiling"
DEFAULT = "default"

# amx stands for amx_tile and what computes in its tiles.
_INSTRUCTION_SETS = ("amx", "avx512_vnni", "avx512_bf16", "avx512f", "avx_vnni", "avx2")

Row = tuple[str, str, str, int]
"""Name, way, archive and cores: what the table has one line for."""


class ResultsError(Exception):
    """The file is missing, or is not what a run writes."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one server."""

    name: str
    photos_per_s: float
    tool: str
    p50_ms: float | None = None
    """None where too few answers were right, as the other latencies (`Load.percentile_ms`)."""
    p95_ms: float | None = None
    p99_ms: float | None = None
    errors: dict[str, int] = {}
    cpu_ms_per_photo: float | None = None
    """Of all right answers, also those that came too late to count as throughput."""

    @classmethod
    def of(cls, name: str, load: Load, cpu_s: float) -> "Scene":
        percentiles_ms = (load.percentile_ms(percent) for percent in (50, 95, 99))
        p50_ms, p95_ms, p99_ms = (None if math.isnan(value_ms) else value_ms for value_ms in percentiles_ms)
        return cls(
            name=name,
            photos_per_s=load.photos_per_s,
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            p99_ms=p99_ms,
            errors=dict(load.errors),
            cpu_ms_per_photo=cpu_s * 1000 / load.num_answered if load.num_answered else None,
            tool=load.tool,
        )


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one round, from its start to its end."""

    name: str
    way: str
    archive: str = DEFAULT
    cores: int
    round: int
    scenes: list[Scene] = []
    start_s: float | None = None
    """From the start of its process to the first right answer."""
    pss_mb: float | None = None
    failure: str | None = None

    @property
    def row(self) -> Row:
        return self.name, self.way, self.archive, self.cores


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    instruction_sets: list[str] = []
    """Those that a network's speed depends on."""
    cores: int
    memory_gb: float
    system: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    machine: Machine
    rounds: int
    seconds: float
    visits: list[Visit]


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """What a photo's CPU time in fruity consists of."""

    date: str
    machine: Machine
    parts_ms: dict[str, float]
    ceiling_ms: float
    """Decoding and the network alone, without a server."""


@dataclass(frozen=True)
class Spread:
    """The median over the rounds, with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread | None":
        """Return the spread of those *values* that are not None, None if there are none."""
        known = sorted(value for value in values if value is not None)
        return cls(statistics.median(known), known[0], known[-1]) if known else None


def describe_machine() -> Machine:
    """Return this machine's CPU, the cores that this process may use, its memory and its system."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in cpu_info.splitlines() if line.startswith("model name")]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cpu=names[0] if names else platform.machine(),
        instruction_sets=list_instruction_sets(cpu_info),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory_bytes / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def list_instruction_sets(cpu_info: str) -> list[str]:
    """Return those of _INSTRUCTION_SETS that the text of /proc/cpuinfo names, which it does on x86."""
    lines = (line.partition(":")[2].split() for line in cpu_info.splitlines() if line.startswith("flags"))
    flags = next(lines, [])
    return [name for name in _INSTRUCTION_SETS if any(flag.startswith(name) for flag in flags)]


def today() -> str:
    return datetime.now(UTC).date().isoformat()


def read_run(path: Path) -> Run:
    """Return the run that *path* holds; raise `ResultsError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Run)
    except FileNotFoundError as error:
        raise ResultsError(f"{path} does not exist; make bench writes it") from error
    except msgspec.DecodeError as error:
        raise ResultsError(f"{path} is not what make bench writes: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write *text* in one atomic step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def write_run(path: Path, run: Run) -> None:
    write_text(path, msgspec.json.format(msgspec.json.encode(run), indent=1).decode() + "\n")
