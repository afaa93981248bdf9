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
from training.fit import Fitted, Job, fine_tune
from training.interruption import InterruptionError
from training.network import build_network, default_preprocessing


class InterruptingPath(PosixPath):
    """The reading of this photo in the given epoch presses Ctrl-C, in whichever process it is read."""

    trainer_pid: ClassVar[int]
    readings_left: ClassVar[int]

    def read_bytes(self) -> bytes:
        type(self).readings_left -= 1
        if self.readings_left == 0:
            os.kill(self.trainer_pid, signal.SIGINT)
        return super().read_bytes()


def fit(config: Config, photos: PhotoSet, folder: Path, train: tuple[Photo, ...], *, resume: bool = False) -> Fitted:
    torch.manual_seed(0)
    network = build_network("test_efficientnet", "random", 4, dropout=0.1)
    preprocessing = default_preprocessing("test_efficientnet", size=64, crop=1.0)
    job = Job(train, photos.of("val"), photos.labels, preprocessing, folder, "fit", seed=0, resume=resume)
    return fine_tune(network, job, config.recipe, config.augment, config.trainer)


def weights(fitted: Fitted) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in fitted.network.state_dict().values()])


BEST = ("recipe.keep=best", "recipe.patience=2")


@pytest.mark.parametrize(
    ("index", "epoch", "workers", "keeping"),
    # Photo 31 is in the last batch of the first epoch.
    [(0, 1, 0, ()), (17, 2, 0, ()), (31, 1, 0, ()), (0, 2, 1, ()), (17, 1, 1, ()), (31, 1, 0, BEST), (17, 2, 0, BEST)],
)
def test_a_run_stopped_anywhere_ends_as_if_it_was_not(
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


def test_the_message_says_where_training_stopped(photo_set: PhotoSet, photo_folder: Path, tmp_path: Path) -> None:
    photos = photo_set.of("train")
    InterruptingPath.trainer_pid, InterruptingPath.readings_left = os.getpid(), 1
    caught = tuple(replace(photo, path=InterruptingPath(photo.path)) for photo in photos)

    with pytest.raises(InterruptionError, match=r"^stopped in epoch 1 of 2 after 1 of 4 batches$"):
        fit(tiny_config(photo_folder, tmp_path), photo_set, tmp_path, caught)


def test_after_training_ctrl_c_does_what_it_did_before(photo_set: PhotoSet, photo_folder: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    fit(tiny_config(photo_folder, tmp_path), photo_set, tmp_path, photo_set.of("train"))

    assert signal.getsignal(signal.SIGINT) is before
