"""Cloud Run under a day's traffic: instances are started and stopped as its documentation says, second by second.

https://cloud.google.com/run/docs/about-instance-autoscaling, read in November 2026: the number of instances keeps
their CPUs, and the requests in flight of their concurrency, at 60 % over one minute; an idle instance may stay for
15 minutes; requests that find no place wait for 3.5 starts or 10 s, whichever is more, and then get 429.
Assumptions of this model: the larger need of the two counts, every 5 s; requests without a place then add instances;
idle instances get requests at once when there are too many for the others.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

TARGET = 0.6
_WINDOW_S = 60
_PERIOD_S = 5
_IDLE_S = 15 * 60
_LEAST_WAIT_S, _WAIT_STARTS = 10.0, 3.5


@dataclass(frozen=True)
class InstanceModel:
    """An instance with a certain concurrency, as the queueing model knows it."""

    concurrency: int
    rate: float  # photos a second that it can answer
    cpu_share: float  # of its CPUs that are busy at that rate
    shares: Sequence[float]  # loads of the next two, in ascending order
    latencies_s: Floats  # a row of equally likely latencies for each of the loads


@dataclass
class Day:
    """What happened in each second."""

    arrived: Floats
    rejected: Floats
    wait_s: Floats  # how long a request waits for its turn because there are more than the instances can answer
    load: npt.NDArray[np.int64]  # the row of `InstanceModel.latencies_s` for the others' queueing
    billed: npt.NDArray[np.int64]  # instances that are starting, ready or idle

    def latencies_s(self, instance: InstanceModel, seconds: slice) -> tuple[Floats, Floats]:
        """Return latencies of answered requests in ascending order, and how many requests each stands for."""
        latencies_s = (instance.latencies_s[self.load[seconds]] + self.wait_s[seconds, None]).ravel()
        answered = np.maximum(self.arrived[seconds] - self.rejected[seconds], 0)
        weights = np.repeat(answered / instance.latencies_s.shape[1], instance.latencies_s.shape[1])
        order = np.argsort(latencies_s)
        return latencies_s[order], weights[order]

    def percentile_s(self, instance: InstanceModel, percent: float, seconds: slice = slice(None)) -> float:
        """Return the percentile of the answered requests' latencies; 0 if there are none."""
        latencies_s, weights = self.latencies_s(instance, seconds)
        reached = np.cumsum(weights)
        return float(latencies_s[np.searchsorted(reached, reached[-1] * percent / 100)]) if reached[-1] else 0.0


@dataclass
class _Fleet:
    """The instances of a service, as numbers and times."""

    ready: int
    starting_s: deque[int] = field(default_factory=deque)  # when each is ready
    idle_s: list[int] = field(default_factory=list)  # since when each gets no requests, because fewer are enough

    @property
    def billed(self) -> int:
        return self.ready + len(self.starting_s) + len(self.idle_s)

    def change_to(self, wanted: int, now_s: int, start_s: float) -> None:
        """Use idle instances before others are started."""
        while self.idle_s and self.ready + len(self.starting_s) < wanted:
            self.idle_s.pop()
            self.ready += 1
        while self.ready + len(self.starting_s) < wanted:
            self.starting_s.append(now_s + math.ceil(start_s))
        while self.ready > wanted:
            self.ready -= 1
            self.idle_s.append(now_s)

    def advance(self, now_s: int) -> None:
        while self.starting_s and self.starting_s[0] <= now_s:
            self.starting_s.popleft()
            self.ready += 1
        self.idle_s = [since_s for since_s in self.idle_s if now_s - since_s < _IDLE_S]


def simulate_day(instance: InstanceModel, rates: Floats, min_instances: int, max_instances: int, start_s: float) -> Day:
    """Return what happens under Poisson arrivals at *rates*, photos a second in each second.

    *min_instances* is at least 1; *start_s* passes from the decision to start an instance to its first request.
    """
    arrived = np.random.default_rng(0).poisson(rates).astype(np.float64)
    rejected, wait_s = np.zeros_like(arrived), np.zeros_like(arrived)
    load, billed = (np.zeros(len(arrived), np.int64) for _ in range(2))
    fleet, backlog, means_s = _Fleet(min_instances), 0.0, instance.latencies_s.mean(axis=1)
    longest_wait_s = max(_LEAST_WAIT_S, _WAIT_STARTS * start_s)
    demands: deque[tuple[float, float]] = deque(maxlen=_WINDOW_S)
    for now_s, count in enumerate(arrived):
        fleet.advance(now_s)
        if backlog:
            fleet.ready += len(fleet.idle_s)
            fleet.idle_s.clear()
        rate = fleet.ready * instance.rate
        wait_s[now_s] = backlog / rate
        served = min(backlog + count, rate)
        share = served / rate
        load[now_s] = np.searchsorted(instance.shares[:-1], share)
        rejected[now_s] = max(0.0, backlog + count - served - rate * longest_wait_s)
        backlog += count - served - rejected[now_s]
        in_flight = backlog + served * means_s[load[now_s]]
        demands.append((share * instance.cpu_share * fleet.ready, in_flight))
        if (now_s + 1) % _PERIOD_S == 0:
            wanted = math.ceil(_count_needed(instance.concurrency, demands))
            fleet.change_to(min(max(wanted, min_instances), max_instances), now_s, start_s)
        billed[now_s] = fleet.billed
    return Day(arrived, rejected, wait_s, load, billed)


def _count_needed(concurrency: int, demands: Sequence[tuple[float, float]]) -> float:
    """Return how many instances the last minute's busy instances and requests in flight ask for."""
    busy, in_flight = np.mean(demands, axis=0)
    # Requests without a place need one before the minute is over.
    return float(max(busy / TARGET, in_flight / concurrency / TARGET, demands[-1][1] / concurrency))
