"""Load on a server that answers photos, in closed and in open loops, and the `Load` that came of it."""

import asyncio
import io
import itertools
import math
import selectors
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Thread
from typing import NamedTuple

# Not httpx, which takes several times the CPU time: the load shares its cores with the server.
import aiohttp
import numpy as np

from benchmarks.endpoint import TIMEOUT_S, Endpoint, Message, Photo, encode_photo, read_answer


class Sample(NamedTuple):
    started_s: float  # on `time.perf_counter`: when it was sent or, in an open loop, when it was due
    latency_s: float
    error: str = ""  # a status, `wrong label`, or the name of an exception; empty if the answer is right
    version: str = ""
    timing: str = ""  # the header Server-Timing

    @property
    def ended_s(self) -> float:
        return self.started_s + self.latency_s


def count_errors(samples: Iterable[Sample]) -> Counter[str]:
    return Counter(sample.error for sample in samples if sample.error)


@dataclass(frozen=True)
class Load:
    """What came back in *seconds*; an error, as a wrong label or any status but 200, has no latency."""

    samples: Sequence[Sample]
    seconds: float
    num_late: int = 0  # right answers after the end of a closed loop: they cost CPU time, and count for nothing else

    @cached_property
    def latencies_ms(self) -> list[float]:
        return [sample.latency_s * 1000 for sample in self.samples if not sample.error]

    @cached_property
    def errors(self) -> Counter[str]:
        return count_errors(self.samples)

    @property
    def photos_per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, percent: float) -> float | None:
        """Return the percentile of the right answers, None if they are too few to have one beyond it."""
        enough = len(self.latencies_ms) * (100 - percent) >= 100
        return float(np.percentile(self.latencies_ms, percent)) if enough else None


def run_closed(endpoint: Endpoint, photos: Sequence[Photo], clients: int, seconds: float) -> Load:
    """Let *clients* send *photos* in turn for *seconds*."""
    started_s = time.perf_counter()
    with run_in_background(endpoint, photos, clients) as samples:
        time.sleep(seconds)
        end_s = time.perf_counter()
    in_time = [sample for sample in samples if sample.ended_s <= end_s]
    num_late = sum(not sample.error and sample.ended_s > end_s for sample in samples)
    return Load(in_time, end_s - started_s, num_late)


def run_open(endpoint: Endpoint, photos: Sequence[Photo], rate: float, seconds: float) -> Load:
    """Send *photos* in turn, *rate* a second on average; latencies count from the schedule, also if a server stalls."""
    # The usual one waits for whole milliseconds, which half of the requests would be late by.
    selector, arrivals = selectors.SelectSelector(), plan_arrivals(rate, seconds)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        started_s = time.perf_counter()
        samples = runner.run(_send_on_schedule(endpoint, photos, arrivals, started_s))
        return Load(samples, time.perf_counter() - started_s)


@contextmanager
def run_in_background(
    endpoint: Endpoint, photos: Sequence[Photo], clients: int, pause_s: float = 0.0
) -> Iterator[Sequence[Sample]]:
    """Let *clients* send *photos* in closed loops while the block runs; the list grows with each answer."""
    samples: list[Sample] = []
    stop = Event()
    thread = Thread(target=asyncio.run, args=(_loop(endpoint, photos, clients, samples, stop, pause_s),))
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def ask_once(endpoint: Endpoint, photo: Photo) -> str:
    """Send *photo* over a connection of its own; return `Sample.error`."""
    return asyncio.run(_send_on_schedule(endpoint, [photo], [0.0], time.perf_counter()))[0].error


def plan_arrivals(rate: float, seconds: float) -> list[float]:
    """Return the seconds at which photos arrive: a Poisson process, the same each time."""
    gaps = np.random.default_rng(0).exponential(1 / rate, math.ceil(2 * rate * seconds + 20))
    return [float(arrival) for arrival in np.cumsum(gaps) if arrival < seconds]


async def _loop(
    endpoint: Endpoint, photos: Sequence[Photo], clients: int, samples: list[Sample], stop: Event, pause_s: float
) -> None:
    messages = [encode_photo(endpoint, photo) for photo in photos]
    async with _open_session() as session:

        async def act(number: int) -> None:
            # Each client starts with another photo, so that the mix is even from the beginning.
            for message in itertools.islice(itertools.cycle(messages), number % len(messages), None):
                if stop.is_set():
                    return
                samples.append(await _send(session, endpoint, message, time.perf_counter()))
                await asyncio.sleep(pause_s)

        await asyncio.gather(*map(act, range(clients)))


async def _send_on_schedule(
    endpoint: Endpoint, photos: Sequence[Photo], arrivals: Sequence[float], started_s: float
) -> list[Sample]:
    tasks = []
    messages = itertools.cycle([encode_photo(endpoint, photo) for photo in photos])
    async with _open_session() as session:
        for message, arrival in zip(messages, arrivals, strict=False):
            due_s = started_s + arrival
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            tasks.append(asyncio.create_task(_send(session, endpoint, message, due_s)))
        return await asyncio.gather(*tasks)


def _open_session() -> aiohttp.ClientSession:
    # As many connections as there are requests in flight.
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=TIMEOUT_S)
    return aiohttp.ClientSession(connector=connector, timeout=timeout)


async def _send(session: aiohttp.ClientSession, endpoint: Endpoint, message: Message, started_s: float) -> Sample:
    error = version = timing = ""
    headers = {"Content-Type": message.content_type}
    try:
        # A file, since aiohttp warns of bytes beyond 1 MB, as a phone's photo has.
        async with session.post(endpoint.url, data=io.BytesIO(message.body), headers=headers) as response:
            content, timing = await response.read(), response.headers.get("Server-Timing", "")
    except (aiohttp.ClientError, TimeoutError) as failure:
        error = type(failure).__name__
    else:
        label, version = read_answer(content, endpoint.labels)
        if response.status != 200:
            error = str(response.status)
        elif message.label not in (None, label):
            error = "wrong label"
    return Sample(started_s, time.perf_counter() - started_s, error, version, timing)
