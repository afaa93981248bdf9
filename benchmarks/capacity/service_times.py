"""How long the workers take, from what clients saw: by the size of the batch, beside busy and beside idle workers.

The durations come from an open loop: in closed ones, another worker's batch disturbs a worker either never or always.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from benchmarks.capacity.capacity_results import ServiceTimes
from benchmarks.container_load import Container
from benchmarks.endpoint import Photo
from benchmarks.load import Sample, run_in_background
from benchmarks.measurement import BenchError

_DURATION = re.compile(r"(\w+);dur=([\d.]+)")
_PERCENTILES = np.arange(0.5, 100)
# A size with fewer batches has no tail of its own.
_ENOUGH = 30


class TimedAnswer(NamedTuple):
    received_s: float  # on `time.perf_counter`
    latency_ms: float
    handler_ms: float  # of its batch
    inference_ms: float


class TimedLoad(NamedTuple):
    answers: list[TimedAnswer]
    seconds: float
    server_cpu_s: float
    client_cpu_s: float


class Batch(NamedTuple):
    """When the handler of a batch ran, on the clients' clock."""

    started_s: float
    ended_s: float
    size: int

    @property
    def handler_ms(self) -> float:
        return 1000 * (self.ended_s - self.started_s)


def run_timed(container: Container, photos: Sequence[Photo], clients: int, seconds: float) -> TimedLoad:
    """Let *clients* send *photos* through the reverse proxy for *seconds*; raise `BenchError` if a request fails."""
    server_cpu_s, client_cpu_s, started_s = container.server.cpu_s(), time.process_time(), time.perf_counter()
    with run_in_background(container.proxy, photos, clients) as samples:
        time.sleep(seconds)
    taken_s = time.perf_counter() - started_s
    answers = read_timings(samples)
    return TimedLoad(answers, taken_s, container.server.cpu_s() - server_cpu_s, time.process_time() - client_cpu_s)


def read_timings(samples: Iterable[Sample]) -> list[TimedAnswer]:
    """Return what Server-Timing says in the answers; raise `BenchError` if a request failed."""
    answers = []
    for sample in samples:
        if sample.error:
            raise BenchError(f"a request failed with {sample.error}")
        times_ms = {name: float(ms) for name, ms in _DURATION.findall(sample.timing)}
        answers.append(TimedAnswer(sample.ended_s, 1000 * sample.latency_s, times_ms["handler"], times_ms["inference"]))
    return answers


def find_batches(answers: Iterable[TimedAnswer]) -> list[Batch]:
    """Return the batches that *answers* came from, by their start: those of one have the same Server-Timing."""
    alike = defaultdict(list)
    for answer in answers:
        alike[answer.handler_ms, answer.inference_ms].append(answer.received_s)
    batches: list[Batch] = []
    for (handler_ms, _), received_s in alike.items():
        times_s = np.sort(received_s)
        # A worker cannot end two batches in less time than one takes.
        ends = np.flatnonzero(np.diff(times_s) > 0.7 * handler_ms / 1000) + 1
        groups = np.split(times_s, ends)
        batches += [Batch(float(group[0]) - handler_ms / 1000, float(group[0]), len(group)) for group in groups]
    return sorted(batches)


def find_service_times(
    open_loops: Iterable[Iterable[TimedAnswer]],
    loads: Mapping[int, Sequence[TimedLoad]],
    batch_size: int,
    workers: int,
    batch_delay_ms: float,
) -> ServiceTimes:
    """Return the durations of *open_loops*, and the times around them in closed *loads*; raise `BenchError`."""
    seen: dict[bool, dict[int, list[float]]] = {True: defaultdict(list), False: defaultdict(list)}
    for answers in open_loops:
        batches = [batch for batch in find_batches(answers) if batch.size <= batch_size]
        last_end_s = 0.0
        for batch in batches:
            seen[batch.started_s < last_end_s][batch.size].append(batch.handler_ms)
            last_end_s = max(last_end_s, batch.ended_s)
    full, one = loads[max(loads)], loads[min(loads)]
    full_batches = [batch for load in full for batch in find_batches(load.answers)]
    rate_per_ms = sum(len(load.answers) for load in full) / sum(load.seconds for load in full) / 1000
    # Each worker's time for a batch, less the handler's.
    cycle_ms = workers * fmean(batch.size for batch in full_batches) / rate_per_ms
    outside_ms = [answer.latency_ms - answer.handler_ms for load in one for answer in load.answers]
    return ServiceTimes(
        busy_ms=[_quantiles(seen[True], size) for size in range(1, batch_size + 1)],
        idle_ms=[_quantiles(seen[False], size) for size in range(1, batch_size + 1)],
        gap_ms=round(max(0.0, cycle_ms - fmean(batch.handler_ms for batch in full_batches)), 3),
        overhead_ms=_round_percentiles([max(0.0, ms - batch_delay_ms) for ms in outside_ms]),
    )


def _quantiles(durations_ms: Mapping[int, Sequence[float]], size: int) -> list[float]:
    """Return those of the nearest size that has enough batches, in proportion."""
    known = [other for other, same in durations_ms.items() if len(same) >= _ENOUGH]
    if not known:
        raise BenchError(f"no size of batch was seen {_ENOUGH} times; measure for longer")
    nearest = min(known, key=lambda other: (abs(other - size), -other))
    return _round_percentiles([ms * size / nearest for ms in durations_ms[nearest]])


def _round_percentiles(durations_ms: Sequence[float]) -> list[float]:
    return [round(float(ms), 3) for ms in np.percentile(durations_ms, _PERCENTILES)]
