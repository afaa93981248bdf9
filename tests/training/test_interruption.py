import os
import signal
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from tests.training.tiny_runs import tiny_config
from training.config import Config
from training.data.photo_set import Photo, PhotoSet
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


def fit(
    config: Config, photos: PhotoSet, folder: Path, train: tuple[Photo, ...], *, resume: bool = False
) -> TrainedNetwork:
    torch.manual_seed(0)
    network = build_network("test_efficientnet", "random", 4, dropout=0.1)
    preprocessing = default_preprocessing("test_efficientnet", size=64, crop=1.0)
    job = Job("fit", train, photos.of("val"), photos.labels, preprocessing, folder, seed=0, resume=resume)
    return fine_tune(network, job, config)


def weights(trained: TrainedNetwork) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in trained.network.state_dict().values()])


BEST = ("recipe.keep=best", "recipe.patience=2")


@pytest.mark.parametrize(
    ("index", "epoch", "workers", "keeping"),
    # Photo 31 is in the last batch of the first epoch.
    [(0, 1, 0, ()), (17, 2, 0, ()), (31, 1, 0, ()), (0, 2, 1, ()), (17, 1, 1, ()), (31, 1, 0, BEST), (17, 2, 0, BEST)],
)
def test_a_stopped_and_resumed_run_equals_one_that_was_not_stopped(
    index: int,
    epoch: int,
    workers: int,
    keeping: tuple[str, ...],
    photo_set: PhotoSet,
    photo_folder: Path,
    tmp_path: Path,
) -> None:
    overrides = ("recipe.epochs=3", "augment=strong", "recipe.freeze_epochs=1", f"trainer.workers={workers}", *keeping)
    config = tiny_config(photo_folder, tmp_path, *overrides)
    photos = photo_set.of("train")
    whole = fit(config, photo_set, tmp_path / "whole", photos)
    InterruptingPath.trainer_pid, InterruptingPath.readings_left = os.getpid(), epoch
    caught = replace(photos[index], path=InterruptingPath(photos[index].path))

    with pytest.raises(InterruptionError, match="of 3"):
        fit(config, photo_set, tmp_path / "cut", (*photos[:index], caught, *photos[index + 1 :]))
    resumed = fit(config, photo_set, tmp_path / "cut", photos, resume=True)

    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.epochs == whole.epochs


def test_the_message_names_epoch_and_batch(photo_set: PhotoSet, photo_folder: Path, tmp_path: Path) -> None:
    photos = photo_set.of("train")
    InterruptingPath.trainer_pid, InterruptingPath.readings_left = os.getpid(), 1
    caught = tuple(replace(photo, path=InterruptingPath(photo.path)) for photo in photos)

    with pytest.raises(InterruptionError, match=r"1 of 2 .* 1 of 4"):
        fit(tiny_config(photo_folder, tmp_path), photo_set, tmp_path, caught)


def test_training_restores_the_signal_handler(photo_set: PhotoSet, photo_folder: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    fit(tiny_config(photo_folder, tmp_path), photo_set, tmp_path, photo_set.of("train"))

    assert signal.getsignal(signal.SIGINT) is before
