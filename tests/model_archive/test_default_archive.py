"""The archive that comes with fruity is the one that its recipe builds."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from model_archive.entry import hash_file
from scripts.default_archive import read_toolchain
from tests.conftest import DEFAULT_ARCHIVE, unpack
from tests.handler.worker import Worker

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive built again, in another process, by the command of `make default-archive`."""
    folder = tmp_path_factory.mktemp("rebuilt")
    command = [sys.executable, "-m", "scripts.default_archive", "--out", str(folder)]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    archive = folder / DEFAULT_ARCHIVE.name
    assert printed == f"default archive: {archive}, {archive.stat().st_size:,} bytes, sha256 {hash_file(archive)}\n"
    return archive


def test_the_recipe_builds_the_committed_archive_on_the_recorded_toolchain(rebuilt: Path) -> None:
    recorded = json.loads((DEFAULT_ARCHIVE.parent / "toolchain.json").read_text())
    if recorded != read_toolchain():
        pytest.skip(f"bytes are equal only on the recorded toolchain: {recorded}")

    assert rebuilt.read_bytes() == DEFAULT_ARCHIVE.read_bytes()
    assert rebuilt.with_suffix(".md").read_text() == DEFAULT_ARCHIVE.with_suffix(".md").read_text()


def test_the_rebuilt_archive_answers_as_the_committed_one_on_any_toolchain(
    rebuilt: Path, default_folder: Path, tmp_path: Path, coffee: bytes, cat: bytes
) -> None:
    folders = unpack(rebuilt, tmp_path), default_folder

    answers = [_top_five(folder, coffee, cat) for folder in folders]

    assert [[label for label, _ in photo[:1]] for photo in answers[0]] == [["espresso"], ["not food"]]
    for new, committed in zip(*answers, strict=True):
        assert dict(new) == pytest.approx(dict(committed), abs=0.01)


def test_the_committed_archive_is_small_and_has_only_the_openvino_engine() -> None:
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as members:
        names = members.namelist()

    assert DEFAULT_ARCHIVE.stat().st_size <= 10 * 1024 * 1024
    assert {"model.xml", "model.bin"} <= set(names)
    assert "model.pt2" not in names


def _top_five(folder: Path, *photos: bytes) -> list[list[tuple[str, float]]]:
    responses = Worker(folder).answer(*(({"body": photo}, {}) for photo in photos))
    entries = [json.loads(response.body)["predictions"][0] for response in responses]
    return [[(one["label"], one["probability"]) for one in entry["labels"]] for entry in entries]
