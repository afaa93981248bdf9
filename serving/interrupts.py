"""Ctrl-C and SIGTERM: the first one stops the work, none stops what undoes it."""

import signal
from types import FrameType


def interrupt_once() -> None:
    """Let the first Ctrl-C or SIGTERM raise `KeyboardInterrupt`, and let nothing stop the way back after it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def ignore_interrupts() -> None:
    """Hear no Ctrl-C and no SIGTERM from now on, in programs that are started neither."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    ignore_interrupts()
    raise KeyboardInterrupt
