import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

DEFAULT_ARCHIVE = Path(__file__).parent.parent / "model_archive" / "default" / "fruity-1.0.0.mar"


@pytest.fixture(scope="session")
def coffee() -> bytes:
    """An espresso, 600x400, PNG."""
    return (files("skimage") / "data" / "coffee.png").read_bytes()


@pytest.fixture(scope="session")
def cat() -> bytes:
    """A cat, 451x300, PNG: not food."""
    return (files("skimage") / "data" / "chelsea.png").read_bytes()


@pytest.fixture(scope="session")
def default_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive that comes with fruity, unpacked as TorchServe unpacks it."""
    folder = tmp_path_factory.mktemp("default-archive")
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as archive:
        archive.extractall(folder)
    return folder
