"""A closed loop whose answers keep what Server-Timing says, with the CPU time that server and load generator took."""

import asyncio
import io
import itertools
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from benchmarks.container_load import Container
from benchmarks.endpoint import Photo

_DURATION = re.compile(r"(\w+);dur=([\d.]+)")


class TimedAnswer(NamedTuple):
    received_s: float
    """On `time.perf_counter`."""
    latency_ms: float
    handler_ms: float
    """Of its batch."""
    inference_ms: float


class TimedLoad(NamedTuple):
    answers: list[TimedAnswer]
    seconds: float
    server_cpu_s: float
    client_cpu_s: float


def run_timed(container: Container, photos: Sequence[Photo], clients: int, seconds: float) -> TimedLoad:
    """Let *clients* send *photos* through the reverse proxy for *seconds*.

    Raises `aiohttp.ClientError` if an answer is not a prediction.
    """
    server_cpu_s, client_cpu_s, started_s = container.server.cpu_s(), time.process_time(), time.perf_counter()
    answers = asyncio.run(_send(container.proxy.url, photos, clients, started_s + seconds))
    taken_s = time.perf_counter() - started_s
    return TimedLoad(answers, taken_s, container.server.cpu_s() - server_cpu_s, time.process_time() - client_cpu_s)


async def _send(url: str, photos: Sequence[Photo], clients: int, end_s: float) -> list[TimedAnswer]:
    answers: list[TimedAnswer] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), raise_for_status=True) as session:

        async def act(number: int) -> None:
            for photo in itertools.islice(itertools.cycle(photos), number % len(photos), None):
                if (sent_s := time.perf_counter()) > end_s:
                    return
                headers = {"Content-Type": "image/jpeg"}
                async with session.post(url, data=io.BytesIO(photo.body), headers=headers) as response:
                    await response.read()
                received_s = time.perf_counter()
                times_ms = {name: float(ms) for name, ms in _DURATION.findall(response.headers["Server-Timing"])}
                latency_ms = 1000 * (received_s - sent_s)
                answers.append(TimedAnswer(received_s, latency_ms, times_ms["handler"], times_ms["inference"]))

        await asyncio.gather(*map(act, range(clients)))
    return answers
