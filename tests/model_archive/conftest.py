from pathlib import Path

import pytest

from model_archive.archive_registry import Registry, open_registry
from model_archive.bucket_storage import BucketStorage
from model_archive.signature import create_keys
from model_archive.storage import FolderStorage, Storage
from tests.archives import write_archive
from tests.model_archive.builds import Build, run_command
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import tiny_config
from training.training_run import train


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


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return FolderStorage(tmp_path / "registry")
    return BucketStorage(f"gs://{request.getfixturevalue('bucket').name}/models/")


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return open_registry(storage.uri)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = write_archive(tmp_path / "build" / "fruity-1.1.0.mar", metrics={"test": {"top1": 0.875}})
    path.with_suffix(".md").write_text("# a card\n")
    path.with_suffix(".cdx.json").write_text("{}\n")
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public key."""
    return create_keys(tmp_path_factory.mktemp("keys"))
