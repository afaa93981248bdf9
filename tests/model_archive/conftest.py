from pathlib import Path

import pytest

from tests.model_archive.builds import Build, run_command
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import tiny_config
from training.train import train


@pytest.fixture(scope="session")
def probed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a tiny network that knows four colours, with 48 photos to calibrate int8 and 220 for the gate."""
    folder = tmp_path_factory.mktemp("probed")
    photos = write_photo_set(folder / "photos", {"train": 12, "val": 55})
    run = train(tiny_config(photos, folder, "recipe.method=probe"))
    assert run is not None
    return run


@pytest.fixture(scope="session")
def int8_build(probed_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """The archive that the command builds of `probed_run`: in int8."""
    out = tmp_path_factory.mktemp("int8")
    printed = run_command("--run", probed_run, "--version", "1.0.0", "--out", out)
    return Build(out / "fruity-1.0.0.mar", printed)
