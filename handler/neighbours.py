"""Whether this worker is the only one at work: each marks in a file that all workers of a version map when it began."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_FILE = ".at-work"
_NUM_SLOTS = 1024
_IDLE = 0.0
# A worker killed in mid-batch leaves its mark behind.
_STALE_S = 1.0


class Neighbours:
    def __init__(self, folder: Path, worker: int) -> None:
        """*folder* is the unpacked archive's, the same for all workers of a version; *worker* is its process id."""
        path = folder / _FILE
        with path.open("ab") as file:
            file.truncate(_NUM_SLOTS * np.dtype(np.float64).itemsize)
        self._began = np.memmap(path, np.float64, "r+", shape=(_NUM_SLOTS,))
        self._slot = worker % _NUM_SLOTS

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Mark this worker as busy inside the block."""
        self._began[self._slot] = time.monotonic()
        try:
            yield
        finally:
            self._began[self._slot] = _IDLE

    def are_idle(self) -> bool:
        """Whether no other worker is at work now."""
        busy = self._began > time.monotonic() - _STALE_S
        busy[self._slot] = False
        return not busy.any()
