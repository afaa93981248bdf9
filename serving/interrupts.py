"""Ctrl-C and SIGTERM: the first one stops the work, and nothing stops the undoing of it."""

import signal
from types import FrameType


def interrupt_once() -> None:
    """Let the first Ctrl-C or SIGTERM raise `KeyboardInterrupt`; ignore every later one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C and SIGTERM from now on, also in programs that are started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_interrupts()
    raise KeyboardInterrupt
