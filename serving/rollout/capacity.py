"""How many workers the machine can take: a server with more answers nobody, also not its operator."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import psutil

from handler.engine import count_cpus
from serving.container.resources import read_memory
from serving.management import Version
from serving.rollout.record import RolloutError

# Each takes the idle cores for its photos, so that more workers than cores answer hardly more of them.
MAX_WORKERS_A_CORE = 4
# Of the default model; two take 260 MB.
_USUAL_WORKER_BYTES = 130_000_000


class Machine(NamedTuple):
    """What the server's machine, or its container, has."""

    cores: int
    free_bytes: int


def read_machine() -> Machine:
    """Return what this machine has: the management API is at its loopback, so the server runs here."""
    used, limit = read_memory()
    return Machine(count_cpus(), limit - used)


def check_capacity(workers: int, versions: Sequence[Version], version: str, machine: Machine) -> None:
    """Raise `RolloutError` with the limit if *machine* cannot take that many *workers* of *version*.

    *versions* are those that run, whose workers show how much memory one takes.
    """
    if workers > (most := MAX_WORKERS_A_CORE * machine.cores):
        raise RolloutError(
            f"workers is {workers}, allowed is at most {most}: {MAX_WORKERS_A_CORE} for each of the {machine.cores} "
            "cores that may be used"
        )
    running = next((len(one.workers) for one in versions if one.model_version == version), 0)
    pids = [worker.pid for one in versions for worker in one.workers if worker.status == "READY"]
    worker_bytes = max(_resident_bytes(pids), default=0) or _USUAL_WORKER_BYTES
    most = running + max(0, machine.free_bytes) // worker_bytes
    if workers > max(running, most):
        raise RolloutError(
            f"workers is {workers}, allowed is at most {most}: one takes {worker_bytes / 1e6:,.0f} MB, and "
            f"{machine.free_bytes / 1e6:,.0f} MB of memory are free"
        )


def _resident_bytes(pids: Iterable[int]) -> Iterable[int]:
    for pid in pids:
        with suppress(psutil.Error):
            yield psutil.Process(pid).memory_info().rss
