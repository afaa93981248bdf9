"""Progress on stderr: a bar on a terminal; elsewhere, as in a log file or CI, a line now and then."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeVar

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

INTERVAL_S = 30.0  # between two lines

Item = TypeVar("Item")


@rank_zero_only
def print_line(line: str) -> None:
    """Print *line* to stderr, only in the first of several processes."""
    sys.stderr.write(f"{line}\n")


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


class EpochProgress(Callback):
    """Shows how many batches are done, and prints a line after each epoch: loss, val top-1 and the time left."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._shown = ExitStack()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._num_steps, self._first_step = int(trainer.estimated_stepping_batches), trainer.global_step
        self._started_s = time.monotonic()
        progress = show_progress(self._title, self._num_steps, "batches", done=self._first_step)
        self._advance = self._shown.enter_context(progress)

    def on_train_batch_end(self, *_: Any) -> None:
        self._advance(1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, figures = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}", trainer.callback_metrics
        result = f"loss {figures['train_loss']:.3f}, val top-1 {figures['val_top1']:.3f}"
        num_done, num_all = (steps - self._first_step for steps in (trainer.global_step, self._num_steps))
        left = format_left(time.monotonic() - self._started_s, num_done, num_all)
        print_line(f"{self._title}: {epoch}, {result}, {left}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._shown.close()

    def on_exception(self, *_: Any) -> None:
        self._shown.close()


def _format_duration(duration_s: float) -> str:
    return f"{duration_s:.0f} s" if duration_s < 100 else f"{duration_s / 60:.0f} min"
