"""Progress on stderr: a bar on a terminal; elsewhere, as in a log file or CI, a line now and then."""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL_S = 30.0
"""Time between two lines."""

Item = TypeVar("Item")


@rank_zero_only
def print_line(line: str) -> None:
    """Print *line* to stderr, only in the first of several processes."""
    Console(stderr=True).print(line, soft_wrap=True, highlight=False)


def has_terminal() -> bool:
    return Console(stderr=True).is_terminal


@contextmanager
def show_progress(title: str, total: int | None, unit: str, *, done: int = 0) -> Iterator[Callable[[int], object]]:
    """Yield a function that counts how many more of *total* units are done; only the first process shows them."""
    console = Console(stderr=True)
    if getattr(rank_zero_only, "rank", 0):
        yield lambda count: None
    elif console.is_terminal:
        count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            yield partial(progress.advance, progress.add_task(title, total=total, completed=done))
    else:
        yield _CountLines(title, total, unit, done).advance


def track(items: Iterable[Item], title: str, unit: str = "batches", total: int | None = None) -> Iterator[Item]:
    """Yield *items* and show how many of them are done, of *total* where they do not know their number."""
    total = len(items) if isinstance(items, Sized) else total
    with show_progress(title, total, unit) as advance:
        for item in items:
            yield item
            advance(1)


class _CountLines:
    """A line every `INTERVAL_S`, and one at the end where the end is known."""

    def __init__(self, title: str, total: int | None, unit: str, done: int) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._first = self._done = done
        self._started_s = self._line_s = time.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now_s = time.monotonic()
        if now_s - self._line_s < INTERVAL_S and self._done != self._total:
            return
        self._line_s = now_s
        if self._total is None:
            print_line(f"{self._title}: {self._done:,} {self._unit}")
            return
        left = format_left(now_s - self._started_s, self._done - self._first, self._total - self._first)
        print_line(f"{self._title}: {self._done:,} of {self._total:,} {self._unit}, {left}")


def format_left(elapsed_s: float, num_done: int, num_all: int) -> str:
    """Return how long the rest takes at the speed so far; at the end how long everything took."""
    if num_done >= num_all:
        return f"done in {_format_duration(elapsed_s)}"
    return f"{_format_duration(elapsed_s / max(1, num_done) * (num_all - num_done))} left"


class ProgressLines(Callback):
    """A line after each epoch, and in a long epoch every `INTERVAL_S`: loss, val top-1 and the time that is left."""

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._title = title
        self._clock = clock
        self._first_step = 0
        self._started_s = self._line_s = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._first_step = trainer.global_step
        self._started_s = self._line_s = self._clock()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if self._clock() - self._line_s >= INTERVAL_S and batch < trainer.num_training_batches:
            self._print(trainer, f"batch {batch} of {trainer.num_training_batches}, loss {float(outputs['loss']):.3f}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = trainer.callback_metrics
        self._print(trainer, f"loss {figures['train_loss']:.3f}, val top-1 {figures['val_top1']:.3f}")

    def _print(self, trainer: Trainer, state: str) -> None:
        self._line_s = self._clock()
        done = trainer.global_step - self._first_step
        num_all = int(trainer.estimated_stepping_batches) - self._first_step
        left = format_left(self._line_s - self._started_s, done, num_all)
        print_line(f"{self._title}: epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, {state}, {left}")


def _format_duration(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s < 100 else f"{duration_s / 60:.0f} min"
