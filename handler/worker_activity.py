"""Which workers of a version are busy: each writes the time at which its batch began into a file that they all map."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_FILE = ".busy-workers"
_NUM_SLOTS = 1024
# A worker that was killed during a batch leaves its entry behind.
_STALE_S = 1.0


class WorkerActivity:
    def __init__(self, folder: Path, pid: int) -> None:
        """*folder* is the unpacked archive, which all workers of a version share; *pid* is this worker's process."""
        path = folder / _FILE
        with path.open("ab") as file:
            file.truncate(_NUM_SLOTS * np.dtype(np.float64).itemsize)
        self._busy_since = np.memmap(path, np.float64, "r+", shape=(_NUM_SLOTS,))
        self._slot = pid % _NUM_SLOTS

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Mark this worker as busy inside the block."""
        self._busy_since[self._slot] = time.monotonic()
        try:
            yield
        finally:
            self._busy_since[self._slot] = 0.0

    def others_idle(self) -> bool:
        """Return whether no other worker is busy now."""
        is_busy = self._busy_since > time.monotonic() - _STALE_S
        is_busy[self._slot] = False
        return not is_busy.any()


@contextmanager
def start_in_turn(folder: Path) -> Iterator[None]:
    """Let one worker of the unpacked archive *folder* at a time run the block.

    Compiling keeps a core busy. On two cores the two workers of a new version took both from the one that still serves:
    at 80 % load its queue overflowed during a rollout.
    """
    with (folder / ".starting").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def claim_number(folder: Path) -> int:
    """Return the lowest number, from 0 on, that no living worker of the unpacked archive *folder* has."""
    for number in range(_NUM_SLOTS):
        file = os.open(folder / f".worker-{number}", os.O_RDWR | os.O_CREAT)
        try:
            # Until the process ends; the next worker then takes the number.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return number
    raise RuntimeError(f"{_NUM_SLOTS} workers run already")
