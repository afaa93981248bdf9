"""Load on a server that answers photos: `run_closed`, `run_open`, and the `Load` that they return.

Closed loop: each client sends its next photo when it has the answer to the last; gives the capacity.
Open loop: photos arrive by a schedule, whatever the server does, as they do from many independent people.
"""

import asyncio
import itertools
import math
import time
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks import wrk
from benchmarks.client import Connection
from benchmarks.wire import Photo, Target, encode_request

_SEED = 0


@dataclass(frozen=True)
class Load:
    """What came back. A wrong label or any status but 200 is an error, and no error has a latency."""

    latencies_ms: Sequence[float]
    seconds: float
    errors: Mapping[str, int] = field(default_factory=dict)
    """By kind: a status, `wrong label`, `connection` or `timeout`."""
    tool: str = "python"
    num_late: int = 0
    """Right answers after the end of a closed loop: they cost CPU time, and count for nothing else."""

    @property
    def photos_per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0

    @property
    def num_answered(self) -> int:
        """Right answers, also late ones: what the CPU time was spent on."""
        return len(self.latencies_ms) + self.num_late

    @property
    def num_errors(self) -> int:
        return sum(self.errors.values())

    def percentile_ms(self, percent: float) -> float:
        """Return the latency that *percent* of the right answers did not exceed.

        NaN if they are too few to have one beyond it: less than 100 for 99 %, 20 for 95 %, 2 for 50 %.
        """
        enough = len(self.latencies_ms) * (100 - percent) >= 100
        return float(np.percentile(self.latencies_ms, percent)) if enough else math.nan


def run_closed(
    target: Target, photos: Sequence[Photo], clients: int, seconds: float, *, use_wrk: bool | None = None
) -> Load:
    """Let *clients* send *photos* in turn for *seconds*; by wrk where it is installed, unless *use_wrk* says so.

    What is still under way at the end does not count. Raises `WrkError`.
    """
    if wrk.is_installed() if use_wrk is None else use_wrk:
        measured = wrk.run(target, photos, clients, math.ceil(seconds))
        return Load(measured.latencies_ms, measured.seconds, measured.errors, "wrk")
    return asyncio.run(_run_closed(target, photos, clients, seconds))


def run_open(target: Target, photos: Sequence[Photo], rate: float, seconds: float) -> Load:
    """Send *photos* in turn, *rate* a second on average, for *seconds*, and wait for all answers.

    A latency counts from the moment that the schedule says, not from when a connection was free: a
    server that stalls is charged for those who would have come meanwhile (no coordinated omission).
    """
    return asyncio.run(_run_open(target, photos, plan_arrivals(rate, seconds)))


def plan_arrivals(rate: float, seconds: float) -> list[float]:
    """Return the seconds at which photos arrive: a Poisson process, the same each time."""
    gaps = np.random.default_rng(_SEED).exponential(1 / rate, max(1, math.ceil(rate * seconds * 2 + 20)))
    arrivals = np.cumsum(gaps)
    return [float(at) for at in arrivals[arrivals < seconds]]


class _Tally:
    """Latencies and errors while they come in."""

    def __init__(self) -> None:
        self.latencies_ms: list[float] = []
        self.errors: Counter[str] = Counter()
        self.num_late = 0

    async def take(self, answer: Awaitable[str | None], since_s: float, until_s: float = math.inf) -> None:
        error = await answer
        now_s = time.perf_counter()
        if now_s > until_s:
            self.num_late += error is None
            return
        if error is None:
            self.latencies_ms.append((now_s - since_s) * 1000)
        else:
            self.errors[error] += 1


async def _run_closed(target: Target, photos: Sequence[Photo], clients: int, seconds: float) -> Load:
    pairs = [(encode_request(target, photo), photo) for photo in photos]
    tally = _Tally()
    started_s = time.perf_counter()
    end_s = started_s + seconds

    async def act(number: int) -> None:
        async with Connection(target) as connection:
            # Each client starts with another photo, so that the mix is even from the beginning.
            for request, photo in itertools.islice(itertools.cycle(pairs), number % len(pairs), None):
                if (now_s := time.perf_counter()) >= end_s:
                    return
                await tally.take(connection.ask(request, photo), now_s, end_s)

    await asyncio.gather(*(act(number) for number in range(clients)))
    return Load(tally.latencies_ms, seconds, dict(tally.errors), num_late=tally.num_late)


async def _run_open(target: Target, photos: Sequence[Photo], arrivals: Sequence[float]) -> Load:
    pairs = [(encode_request(target, photo), photo) for photo in photos]
    tally = _Tally()
    idle: list[Connection] = []
    started_s = time.perf_counter()

    async def act(number: int, due_s: float) -> None:
        request, photo = pairs[number % len(pairs)]
        connection = idle.pop() if idle else Connection(target)
        await tally.take(connection.ask(request, photo), due_s)
        idle.append(connection)

    async with asyncio.TaskGroup() as tasks:
        for number, arrival in enumerate(arrivals):
            due_s = started_s + arrival
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.create_task(act(number, due_s))
    for connection in idle:
        connection.close()
    return Load(tally.latencies_ms, time.perf_counter() - started_s, dict(tally.errors))
