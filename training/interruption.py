"""Stopping: a checkpoint to resume from after every epoch, and in the middle of one on Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

EXIT_INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptionError(Exception):
    """Training was stopped by Ctrl-C or SIGTERM and can be resumed."""


class LostProcessError(Exception):
    """Another process of this training has ended, or cannot be reached."""


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Raise `LostProcessError` where the block loses its connection to another process."""
    try:
        yield
    except RuntimeError as error:
        # Gloo has no type of its own, NCCL's is a DistError.
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        cause = str(error).rpartition("] ")[2].partition(". ")[0].strip()
        raise LostProcessError(
            f"another process of this training has ended or cannot be reached ({cause}); its host, or its log, says why"
        ) from error


@contextmanager
def catch_interrupts() -> Iterator[None]:
    """Raise `InterruptionError` where Lightning would end the process in the block because of a second Ctrl-C.

    After the block the handlers of signals are those from before, which Lightning does not restore after an exception.
    """
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        raise InterruptionError("stopped at once") from end
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Interruptible(Checkpoint):
    """Writes *checkpoint* after every epoch; the first Ctrl-C writes it after the current batch and stops.

    A second Ctrl-C stops at once: a resume then starts from the last checkpoint. It is a `Checkpoint`, so that
    Lightning calls it after all others.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint
        self._stop = False
        self._handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number in _SIGNALS:
            self._handlers[number] = signal.signal(number, self._request_stop)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        progress = trainer.fit_loop.epoch_loop.batch_progress
        # After the last batch come validation and the end of the epoch: stop there instead.
        if not progress.is_last_batch and self._should_stop(trainer):
            trainer.save_checkpoint(self._checkpoint)
            raise InterruptionError(
                f"stopped in epoch {trainer.current_epoch + 1} of {trainer.max_epochs} after "
                f"{progress.current.ready} of {trainer.num_training_batches} batches"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self._checkpoint)
        if self._should_stop(trainer):
            raise InterruptionError(f"stopped after epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop = True
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _should_stop(self, trainer: Trainer) -> bool:
        # All processes must stop after the same batch, or the others wait for ever.
        return bool(trainer.strategy.reduce_boolean_decision(self._stop, all=False))
