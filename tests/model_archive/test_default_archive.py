"""The archive that comes with fruity is the one that its recipe builds."""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.grocery import GROCERY
from handler.engine import Floats, load_engine
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from handler.spec import read_spec
from model_archive.engine_export import export_engines
from model_archive.entry import hash_file
from model_archive.served_network import load_network
from scripts.default_archive import read_toolchain
from tests.conftest import DEFAULT_ARCHIVE, unpack
from tests.handler.worker import Worker
from training.default_model import write_default_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NUM_PHOTOS = 64


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive built again, in another process, by the command of `make default-archive`."""
    folder = tmp_path_factory.mktemp("rebuilt")
    command = [sys.executable, "-m", "scripts.default_archive", "--out", str(folder)]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    archive = folder / DEFAULT_ARCHIVE.name
    assert f"{archive}: {archive.stat().st_size:,} bytes, sha256 {hash_file(archive)}\n" in printed
    return archive


@pytest.fixture(scope="module")
def both_engines(rebuilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rebuilt archive, unpacked, with the torch engine beside its own."""
    run, folder = tmp_path_factory.mktemp("runs") / "default", tmp_path_factory.mktemp("both")
    write_default_run(run)
    spec = read_spec(run)
    export_engines(load_network(run, spec), spec, ["torch"], folder)
    return unpack(rebuilt, folder)


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


def test_both_engines_give_two_photos_the_same_labels(both_engines: Path, coffee: bytes, cat: bytes) -> None:
    openvino, torch = _infer(both_engines, [coffee, cat])

    labels = read_spec(both_engines).labels
    assert [labels[index] for index in openvino.argmax(axis=1)] == ["espresso", "not food"]
    assert openvino.argmax(axis=1).tolist() == torch.argmax(axis=1).tolist()


@pytest.mark.skipif(not GROCERY.exists(), reason="the Grocery Store photos are not at ../shared/data/grocery")
def test_both_engines_give_real_photos_the_same_labels(both_engines: Path) -> None:
    openvino, torch = _infer(both_engines, _read_grocery_photos())

    first_two = np.sort(torch, axis=1)[:, -2:]
    # If two labels are nearly equal in torch, bfloat16 may change the first.
    clear = first_two[:, 1] - first_two[:, 0] > 0.2
    assert clear.mean() > 0.8
    assert openvino.argmax(axis=1)[clear].tolist() == torch.argmax(axis=1)[clear].tolist()
    assert (openvino.argmax(axis=1) == torch.argmax(axis=1)).mean() >= 0.95


def _infer(folder: Path, photos: list[bytes]) -> list[Floats]:
    """Return the logits of both engines as they serve, OpenVINO in the hardware's best precision."""
    preprocessing = read_spec(folder).preprocessing
    photos_BHWC = np.stack([preprocess_photo(photo, preprocessing, Limits()) for photo in photos])
    return [load_engine(folder, name, threads=2).run(photos_BHWC).logits_BK for name in ("openvino", "torch")]


def _read_grocery_photos() -> list[bytes]:
    with (GROCERY / "labels.csv").open() as table:
        files = [row["file"] for row in csv.DictReader(table) if row["split"] == "val"]
    step = len(files) // NUM_PHOTOS
    return [(GROCERY / file).read_bytes() for file in files[::step][:NUM_PHOTOS]]


def _top_five(folder: Path, *photos: bytes) -> list[list[tuple[str, float]]]:
    responses = Worker(folder).answer(*(({"body": photo}, {}) for photo in photos))
    entries = [json.loads(response.body)["predictions"][0] for response in responses]
    return [[(one["label"], one["probability"]) for one in entry["labels"]] for entry in entries]
