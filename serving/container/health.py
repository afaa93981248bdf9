"""Whether the container answers: asked of TorchServe at an interval, told at /readyz and /healthz."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.readiness import Busy, NotReady

STUCK_S = 120.0
"""Without an answer for so long, the container is stuck and wants to be restarted."""

_FLAPPING_DEATHS = 3
_FLAPPING_S = 60.0

# For each worker of the default version its process.
Workers = dict[str, int]


@dataclass
class Health:
    """The state behind the two pages; written by one thread, read by others."""

    clock: Callable[[], float] = time.monotonic
    unready_reason: str = "the model is not loaded yet"
    """Empty when ready."""
    _last_answer: float = field(default=0.0, init=False)
    _stopping: bool = field(default=False, init=False)
    _workers: Workers = field(default_factory=dict, init=False)
    _deaths: deque[float] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self._last_answer = self.clock()

    @property
    def stuck_reason(self) -> str:
        """Empty while TorchServe answers."""
        silent_s = self.clock() - self._last_answer
        return f"the model has not answered for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    def stop(self) -> None:
        """Be unready from now on."""
        self._stopping = True
        self.unready_reason = "the container is stopping"

    def check(self, ask: Callable[[], Workers]) -> None:
        """Ask once; *ask* returns the workers of a model that answered, and raises `NotReady` for one that did not."""
        try:
            workers = ask()
        except Busy:
            # Too many requests are no reason to send them all to the next instance.
            self._last_answer = self.clock()
            return
        except NotReady as reason:
            self._tell(str(reason))
            return
        self._last_answer = self.clock()
        self._count_deaths(workers)
        self._tell(self._flapping())

    def _count_deaths(self, workers: Workers) -> None:
        """TorchServe starts a dead worker anew under its old name, in a new process."""
        dead = sum(self._workers.get(name, process) != process for name, process in workers.items())
        self._deaths.extend([self.clock()] * dead)
        self._workers = workers
        while self._deaths and self._deaths[0] < self.clock() - _FLAPPING_S:
            self._deaths.popleft()

    def _flapping(self) -> str:
        deaths = len(self._deaths)
        return f"{deaths} workers died within {_FLAPPING_S:.0f} s" if deaths >= _FLAPPING_DEATHS else ""

    def _tell(self, unready_reason: str) -> None:
        if not self._stopping:
            self.unready_reason = unready_reason
