"""Readiness and liveness of the container, from periodic checks of TorchServe; /readyz and /healthz show them."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from serving.readiness import Busy, NotReady

STUCK_S = 120.0
"""Without an answer for this long the container is stuck and must be restarted."""

_MAX_DEATHS = 2
_DEATHS_WINDOW_S = 60.0

Workers = dict[str, int]
"""The process id of each worker of the default version."""


@dataclass
class Health:
    """Written by one thread, read by others."""

    clock: Callable[[], float] = time.monotonic
    unready_reason: str = "the model is not loaded yet"
    """Empty when ready."""
    _last_answer_s: float = field(default=0.0, init=False)
    _stopping: bool = field(default=False, init=False)
    _workers: Workers = field(default_factory=dict, init=False)
    _deaths_s: deque[float] = field(default_factory=deque, init=False)

    def __post_init__(self) -> None:
        self._last_answer_s = self.clock()

    @property
    def stuck_reason(self) -> str:
        """Empty while TorchServe answers."""
        silent_s = self.clock() - self._last_answer_s
        return f"the model has not answered for {silent_s:.0f} s" if silent_s > STUCK_S else ""

    def stop(self) -> None:
        """Be unready from now on."""
        self._stopping = True
        self.unready_reason = "the container is stopping"

    def check(self, ask: Callable[[], Workers]) -> None:
        """Check once: *ask* returns the workers of a model that answers, and raises `NotReady` if it does not."""
        try:
            self._count_deaths(ask())
            unready_reason = self._too_many_deaths()
        except Busy:
            # Readiness stays: otherwise the load would move to the next instance, and then to the one after it.
            unready_reason = self.unready_reason
        except NotReady as reason:
            self._set(str(reason))
            return
        self._last_answer_s = self.clock()
        self._set(unready_reason)

    def _count_deaths(self, workers: Workers) -> None:
        """Count restarts: TorchServe starts a dead worker under its old name, as a new process."""
        now_s = self.clock()
        self._deaths_s.extend(now_s for name, process in workers.items() if self._workers.get(name, process) != process)
        self._workers = workers
        while self._deaths_s and self._deaths_s[0] < now_s - _DEATHS_WINDOW_S:
            self._deaths_s.popleft()

    def _too_many_deaths(self) -> str:
        deaths = len(self._deaths_s)
        return f"{deaths} workers died within {_DEATHS_WINDOW_S:.0f} s" if deaths > _MAX_DEATHS else ""

    def _set(self, unready_reason: str) -> None:
        if not self._stopping:
            self.unready_reason = unready_reason
