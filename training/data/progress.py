"""The progress of a long step: a bar on a terminal; in a log file or CI, a line now and then."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")

_LINE_EVERY_S = 30.0


@contextmanager
def show_progress(
    step: str, total: int | None, unit: str, *, done: int = 0, line_every_s: float = _LINE_EVERY_S
) -> Iterator[Callable[[int], object]]:
    """Yield a function that counts how many of *total* units were done since its last call."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _ProgressLines(console, step, total, unit, done, line_every_s)
        return
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield partial(progress.advance, progress.add_task(step, total=total, completed=done))


def track_progress(items: Iterable[Item], step: str, total: int | None, unit: str) -> Iterator[Item]:
    """Yield *items*, each counted as one unit."""
    with show_progress(step, total, unit) as advance:
        for item in items:
            yield item
            advance(1)


class _ProgressLines:
    def __init__(
        self, console: Console, step: str, total: int | None, unit: str, done: int, line_every_s: float
    ) -> None:
        self._console = console
        self._step = step
        self._total = f" of {total:,}" if total is not None else ""
        self._unit = unit
        self._done = done
        self._line_every_s = line_every_s
        self._last_line_s = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        now_s = time.monotonic()
        if now_s - self._last_line_s >= self._line_every_s:
            self._last_line_s = now_s
            line = f"{self._step}: {self._done:,}{self._total} {self._unit}"
            self._console.print(line, soft_wrap=True, highlight=False)
