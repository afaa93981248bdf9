from pathlib import Path

import pytest

from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import tiny_config
from training.train import train


@pytest.fixture(scope="session")
def probed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a tiny network that knows four colours, with 48 photos to calibrate int8 and 220 to judge it."""
    folder = tmp_path_factory.mktemp("probed")
    photos = write_photo_set(folder / "photos", {"train": 12, "val": 55})
    run = train(tiny_config(photos, folder, "recipe.method=probe"))
    assert run is not None
    return run
