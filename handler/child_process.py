"""A function in a process of its own, which is stopped when it has used up its CPU time."""

import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

# Of the CPU time: other processes may have the core in between.
_WALL_FACTOR = 4
_MAX_FDS = 65536


class ChildFailed(Exception):
    """The process was stopped, or it crashed."""

    def __init__(self, reason: str, cpu_seconds: float) -> None:
        super().__init__(reason)
        self.cpu_seconds = cpu_seconds


def run_in_child(function: Callable[[], bytes], max_cpu_seconds: float) -> tuple[bytes, float]:
    """Return what *function* returns, and the seconds of CPU time that it took.

    Raises `ChildFailed`, or `OSError` if no process can be started.

    The process is a fork of this one, which takes about 5 ms, and sees all of its memory. What *function* changes, or
    a decoder corrupts, stays in it.
    """
    read_end, write_end = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(read_end)
        os.close(write_end)
        raise
    if pid == 0:
        _run(function, write_end, max_cpu_seconds)
    os.close(write_end)
    content = None
    try:
        content = _read_until(read_end, time.monotonic() + _WALL_FACTOR * max_cpu_seconds)
    finally:
        os.close(read_end)
        if content is None:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    if content is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF):
        raise ChildFailed(f"it was stopped after {cpu_seconds:.1f} s of CPU time", cpu_seconds)
    # The kernel may kill it for lack of memory when a part is written.
    if status or not content:
        raise ChildFailed(f"it crashed ({os.waitstatus_to_exitcode(status)})", cpu_seconds)
    return content, cpu_seconds


def _run(function: Callable[[], bytes], write_end: int, max_cpu_seconds: float) -> NoReturn:
    exit_code = 1
    try:
        # The kernel ends the process at this signal, whichever code it is in.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, max_cpu_seconds)
        # Else TorchServe would wait for this process, too, when its worker dies.
        os.closerange(3, write_end)
        os.closerange(write_end + 1, _MAX_FDS)
        with open(write_end, "wb") as pipe:
            pipe.write(function())
        exit_code = 0
    finally:
        # Nothing of the parent's is flushed or freed twice.
        os._exit(exit_code)


def _read_until(read_end: int, deadline: float) -> bytes | None:
    """Return what comes until the other end is closed, None if that is not before *deadline*."""
    blocks: list[bytes] = []
    poll = select.poll()
    poll.register(read_end, select.POLLIN)
    while poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
        if not (block := os.read(read_end, 2**20)):
            return b"".join(blocks)
        blocks.append(block)
    return None
