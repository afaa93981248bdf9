"""One server as a queue: Poisson arrivals, one queue, workers that take batches, service times as measured (SimPy)."""

import math
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import simpy

# A process of SimPy.
Steps = Generator[simpy.Event, Any, Any]


@dataclass(frozen=True)
class ServerSettings:
    workers: int
    batch_size: int
    batch_delay_s: float
    """How long a worker waits for more requests, once it has one; the other workers wait for their turn meanwhile."""
    busy_s: Sequence[Sequence[float]]
    """Equally likely durations of a batch, by its size less one, that starts while another worker is busy."""
    idle_s: Sequence[Sequence[float]]  # the same, of a batch that starts while the others are idle
    gap_s: float = 0.0  # between two batches of a worker
    overhead_s: Sequence[float] = (0.0,)  # equally likely times of a request outside the workers
    queue_size: float = math.inf  # requests that wait at most; the next one is rejected


class Server:
    def __init__(self, environment: simpy.Environment, settings: ServerSettings, seed: int) -> None:
        self.in_flight = 0
        self._environment, self._settings = environment, settings
        self._random = random.Random(seed)  # noqa: S311, a simulation
        self._queue, self._num_busy = simpy.Store(environment), 0
        turn = simpy.Resource(environment)
        for _ in range(settings.workers):
            environment.process(self._work(turn))

    def submit(self, answer: Callable[[float], None]) -> None:
        """Queue a request; *answer* is called with the time of its answer, and never if the queue is full."""
        if len(self._queue.items) < self._settings.queue_size:
            self.in_flight += 1
            self._queue.put(answer)

    def _work(self, turn: simpy.Resource) -> Steps:
        environment, settings, queue = self._environment, self._settings, self._queue
        while True:
            with turn.request() as asked:
                yield asked
                batch = [(yield queue.get())]
                if len(queue.items) < settings.batch_size - 1 and settings.batch_delay_s:
                    yield environment.timeout(settings.batch_delay_s)
                batch += queue.items[: settings.batch_size - 1]
                del queue.items[: settings.batch_size - 1]
            durations = settings.busy_s if self._num_busy else settings.idle_s
            self._num_busy += 1
            yield environment.timeout(self._random.choice(durations[len(batch) - 1]))
            self._num_busy -= 1
            self.in_flight -= len(batch)
            for answer in batch:
                answer(environment.now + self._random.choice(settings.overhead_s))
            if settings.gap_s:
                yield environment.timeout(settings.gap_s)


def simulate_open(
    settings: ServerSettings, arrivals_s: Iterable[float], concurrency: float = math.inf, seed: int = 0
) -> list[float]:
    """Return the latencies of answered requests; at most *concurrency* are in the server, the others wait before it."""
    environment, latencies_s, waiting = simpy.Environment(), list[float](), deque[float]()
    server = Server(environment, settings, seed)

    def admit() -> None:
        while waiting and server.in_flight < concurrency:
            server.submit(partial(finish, waiting.popleft()))

    def finish(arrived_s: float, at_s: float) -> None:
        latencies_s.append(at_s - arrived_s)
        admit()

    def arrive() -> Steps:
        for arrival_s in arrivals_s:
            yield environment.timeout(arrival_s - environment.now)
            waiting.append(environment.now)
            admit()

    environment.process(arrive())
    environment.run()
    return latencies_s


def simulate_closed(settings: ServerSettings, clients: int, seconds: float) -> float:
    """Return the requests a second of *clients* that each send the next request when they have the answer."""
    environment, num_answered = simpy.Environment(), 0
    server = Server(environment, settings, seed=0)

    def finish(at_s: float) -> None:
        nonlocal num_answered
        num_answered += 1
        environment.process(send(at_s))

    def send(at_s: float) -> Steps:
        yield environment.timeout(at_s - environment.now)
        server.submit(finish)

    for _ in range(clients):
        environment.process(send(0.0))
    environment.run(until=seconds)
    return num_answered / seconds
