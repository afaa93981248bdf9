import os
import signal
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import Any, ClassVar

import msgspec
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from tests.training.tiny_runs import tiny_config
from training.config import Config
from training.data.photo_set import PhotoSet
from training.fine_tuning import Job, TrainedNetwork, fine_tune
from training.interruption import InterruptionError
from training.network import build_network, default_preprocessing


class InterruptingPath(PosixPath):
    """Sends Ctrl-C to the trainer when this photo is read for the given time, in any process."""

    trainer_pid: ClassVar[int]
    readings_left: ClassVar[int]

    def read_bytes(self) -> bytes:
        type(self).readings_left -= 1
        if self.readings_left == 0:
            os.kill(self.trainer_pid, signal.SIGINT)
        return super().read_bytes()


class TwiceInterrupting(Callback):
    """Sends Ctrl-C twice in the second epoch."""

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)


def fit(config: Config, photos: PhotoSet, *callbacks: Callback) -> TrainedNetwork:
    torch.manual_seed(0)
    network = build_network("test_efficientnet", "random", 4, dropout=0.1)
    preprocessing = default_preprocessing("test_efficientnet", size=64, crop=1.0)
    return fine_tune(network, Job("fit", config, photos, preprocessing, callbacks=callbacks))


def weights(trained: TrainedNetwork) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in trained.network.state_dict().values()])


BEST = ("recipe.keep=best", "recipe.patience=2")


@pytest.mark.parametrize(
    ("index", "epoch", "workers", "keeping", "message"),
    [
        (0, 1, 0, (), r"epoch 1 of 3 after \d of 4"),
        (17, 2, 0, BEST, "epoch 2 of 3"),
        # Photo 31 is in the last batch of the first epoch.
        (31, 1, 0, BEST, "of 3"),
        (0, 2, 1, (), "of 3"),
    ],
)
def test_a_stopped_and_resumed_run_equals_one_that_was_not_stopped(
    index: int,
    epoch: int,
    workers: int,
    keeping: tuple[str, ...],
    message: str,
    photo_set: PhotoSet,
    photo_folder: Path,
    tmp_path: Path,
) -> None:
    overrides = ("recipe.epochs=3", "augment=strong", "recipe.start_size=32", "recipe.freeze_epochs=1")
    config = tiny_config(photo_folder, tmp_path, *overrides, f"trainer.workers={workers}", *keeping)
    handler = signal.getsignal(signal.SIGINT)
    whole = fit(msgspec.structs.replace(config, id="whole"), photo_set)
    assert signal.getsignal(signal.SIGINT) is handler
    InterruptingPath.trainer_pid, InterruptingPath.readings_left = os.getpid(), epoch
    caught = photo_set.of("train")[index]
    broken = [replace(p, path=InterruptingPath(p.path)) if p == caught else p for p in photo_set.photos]

    with pytest.raises(InterruptionError, match=message):
        fit(config, replace(photo_set, photos=tuple(broken)))
    resumed = fit(msgspec.structs.replace(config, resume=True), photo_set)

    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.epochs == whole.epochs


def test_a_second_interrupt_stops_at_once_and_keeps_the_checkpoint_of_the_last_epoch(
    photo_set: PhotoSet, photo_folder: Path, tmp_path: Path
) -> None:
    handler = signal.getsignal(signal.SIGINT)

    with pytest.raises(InterruptionError, match="stopped at once"):
        fit(tiny_config(photo_folder, tmp_path, "recipe.epochs=3"), photo_set, TwiceInterrupting())

    # Lightning lets the process ignore further ones.
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "logs" / "tiny" / "fit.ckpt").exists()
