"""One server as a queue: Poisson arrivals, one queue, workers that take batches, service times as measured (SimPy)."""

import math
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
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
    idle_s: Sequence[Sequence[float]]
    """The same, of a batch that starts while the others are idle."""
    gap_s: float = 0.0
    """Between two batches of a worker."""
    overhead_s: Sequence[float] = (0.0,)
    """Equally likely times of a request outside the workers."""
    queue_size: float = math.inf
    """Requests that wait at most; the next one is rejected."""


@dataclass
class Request:
    arrived_s: float
    finished: Callable[["Request", float], None]
    """Is called with the time of the answer."""


@dataclass
class Server:
    """A server in *environment*."""

    environment: simpy.Environment
    settings: ServerSettings
    random: random.Random
    in_flight: int = 0
    _num_busy: int = 0
    _queue: deque[Request] = field(default_factory=deque)
    _idle: deque[simpy.Event] = field(default_factory=deque)

    def __post_init__(self) -> None:
        turn = simpy.Resource(self.environment)
        for _ in range(self.settings.workers):
            self.environment.process(self._work(turn))

    def submit(self, request: Request) -> bool:
        """Queue *request*; return False if the queue is full."""
        if len(self._queue) >= self.settings.queue_size:
            return False
        self.in_flight += 1
        self._queue.append(request)
        if self._idle:
            self._idle.popleft().succeed()
        return True

    def _work(self, turn: simpy.Resource) -> Steps:
        environment, settings = self.environment, self.settings
        while True:
            with turn.request() as asked:
                yield asked
                while not self._queue:
                    arrival = environment.event()
                    self._idle.append(arrival)
                    yield arrival
                if len(self._queue) < settings.batch_size and settings.batch_delay_s:
                    yield environment.timeout(settings.batch_delay_s)
                batch = [self._queue.popleft() for _ in range(min(settings.batch_size, len(self._queue)))]
            durations = settings.busy_s if self._num_busy else settings.idle_s
            service_s = self.random.choice(durations[len(batch) - 1])
            self._num_busy += 1
            yield environment.timeout(service_s)
            self._num_busy -= 1
            self.in_flight -= len(batch)
            for request in batch:
                request.finished(request, environment.now + self.random.choice(settings.overhead_s))
            if settings.gap_s:
                yield environment.timeout(settings.gap_s)


@dataclass
class OpenLoopSeen:
    """What a simulated open loop saw."""

    latencies_s: list[float] = field(default_factory=list)
    num_rejected: int = 0


def simulate_open(
    settings: ServerSettings, arrivals_s: Iterable[float], concurrency: float = math.inf, seed: int = 0
) -> OpenLoopSeen:
    """Return what requests saw that arrive at *arrivals_s* at an idle server; at most *concurrency* are in it at once.

    The others wait before it, first come, first served.
    """
    environment, seen, waiting = simpy.Environment(), OpenLoopSeen(), deque[Request]()
    server = Server(environment, settings, random.Random(seed))  # noqa: S311, a simulation

    def admit() -> None:
        while waiting and server.in_flight < concurrency:
            seen.num_rejected += not server.submit(waiting.popleft())

    def finish(request: Request, at_s: float) -> None:
        seen.latencies_s.append(at_s - request.arrived_s)
        admit()

    def arrive() -> Steps:
        for arrival_s in arrivals_s:
            yield environment.timeout(arrival_s - environment.now)
            waiting.append(Request(environment.now, finish))
            admit()

    environment.process(arrive())
    environment.run()
    return seen


def simulate_closed(settings: ServerSettings, clients: int, seconds: float, seed: int = 0) -> float:
    """Return the requests a second of *clients* that each send the next request when they have the answer."""
    environment, num_answered = simpy.Environment(), 0
    server = Server(environment, settings, random.Random(seed))  # noqa: S311, a simulation

    def finish(_: Request, at_s: float) -> None:
        nonlocal num_answered
        num_answered += 1
        environment.process(send(at_s))

    def send(at_s: float) -> Steps:
        yield environment.timeout(at_s - environment.now)
        server.submit(Request(environment.now, finish))

    for _ in range(clients):
        environment.process(send(0.0))
    environment.run(until=seconds)
    return num_answered / seconds
