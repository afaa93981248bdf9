from pathlib import Path

import pytest

from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import run_training
from training.data.photo_set import PhotoSet
from training.data.sources import load_photos


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 labels in 2 groups, of each 8 train, 2 val and 2 test photos of 72x56 pixels, with labels.csv."""
    return write_photo_set(tmp_path_factory.mktemp("photos"), {"train": 8, "val": 2, "test": 2})


@pytest.fixture(scope="session")
def photo_set(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    return load_photos(str(photo_folder), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def trained_run(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a network fine-tuned on the photos for two epochs; `latest` points at it."""
    return run_training(photo_folder, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def probe_run(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a linear probe on the photos."""
    return run_training(photo_folder, tmp_path_factory.mktemp("probe"), "recipe.method=probe")
