"""How far a run is: a bar on a terminal, elsewhere a line now and then. Both say how long the rest takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from scoring.photo_listing import PhotoPlace

LINE_S = 30.0
"""Between two lines of progress where the output is not a terminal."""
_LISTED_A_LINE = 100_000


@contextmanager
def shown_progress() -> Iterator["ScoreProgress"]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield ScoreProgress(console, bar)


class ScoreProgress:
    def __init__(self, console: Console, bar: Progress) -> None:
        self._console, self._bar = console, bar
        self._task = bar.add_task("Listing", total=None)
        self._num_photos = self._first = self._done = 0
        self._started_s = self._line_s = time.monotonic()

    def count(self, photos: Iterator[PhotoPlace]) -> Iterator[PhotoPlace]:
        """Yield *photos*, which are listed meanwhile."""
        for number, photo in enumerate(photos, start=1):
            self._bar.update(self._task, completed=number)
            if number % _LISTED_A_LINE == 0:
                self._print(f"{number:,} photos listed so far")
            yield photo

    def start(self, num_photos: int, num_done: int) -> None:
        """Begin to score: of *num_photos*, *num_done* were scored by an earlier run."""
        self._num_photos, self._first, self._done = num_photos, num_done, num_done
        self._started_s = self._line_s = time.monotonic()
        self._bar.reset(self._task, description="Scoring", total=num_photos, completed=num_done)
        self._print(f"{num_photos:,} photos, {num_done:,} of them scored before")

    def advance(self, num_photos: int) -> None:
        """Add photos whose rows are written."""
        self._done += num_photos
        self._bar.update(self._task, completed=self._done)
        now_s = time.monotonic()
        if now_s - self._line_s < LINE_S:
            return
        self._line_s = now_s
        left_s = (now_s - self._started_s) / (self._done - self._first) * (self._num_photos - self._done)
        left = f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
        self._print(f"{self._done:,} of {self._num_photos:,} photos, {left} left")

    def _print(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(f"score: {line}", soft_wrap=True, highlight=False)
