import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from handler.spec import read_spec
from tests.training.pictures import write_image_folder
from tests.training.tiny_runs import read_metrics, run_training
from training.data.photo_set import DataError, Photo
from training.evaluate_run import evaluate_run
from training.learned_photos import LEARNED_FILE, VAL_FILE, leave_out, shorten_digests


@pytest.fixture
def field(tmp_path: Path, photo_folder: Path) -> Path:
    """3 new photos, and under other names 2 of train and 1 of val."""
    folder = write_image_folder(tmp_path / "field", {"leek": 2, "apple": 1}, first_seed=9000)
    for split, count in (("train", 2), ("val", 1)):
        for path in sorted((photo_folder / split / "leek").glob("*.jpg"))[:count]:
            shutil.copy(path, folder / "leek" / f"{split}-{path.name}")
    return folder


def test_a_photo_is_known_by_its_content() -> None:
    contents = {"a": b"", "b": b"pear", "c": b""}
    photos = [Photo(Path(name), "apple", digest=sha256(content).hexdigest()) for name, content in contents.items()]
    # SHA-256 of nothing begins e3b0c442 98fc1c14.
    assert shorten_digests(photos)[0] == 0xE3B0C44298FC1C14
    assert leave_out(photos, shorten_digests(photos[2:]), "") == [photos[1]]
    assert leave_out(photos, None, "") == photos


def test_copies_of_train_and_val_photos_are_left_out_of_an_evaluation(
    trained_run: Path, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_run(trained_run, str(field), tmp_path / "data").summary["test"]["photos"] == 3
    printed = capsys.readouterr().err
    assert "1 of 6 photos are left out: the model was chosen by them" in printed
    assert "2 of 5 photos are left out: the model has learned from them" in printed


def test_copies_of_train_and_val_photos_are_left_out_of_data_test(
    photo_folder: Path, field: Path, tmp_path: Path
) -> None:
    run = run_training(photo_folder, tmp_path, "recipe.method=probe", f"data.test={field}")
    assert read_metrics(run)["splits"]["test"]["summary"]["photos"] == 3


def test_a_data_test_of_copies_alone_is_refused(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(photo_folder / "train")):
        run_training(photo_folder, tmp_path, f"data.test={photo_folder / 'train'}")


def test_after_a_refit_the_half_of_val_that_was_learned_is_not_evaluated(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos", dict.fromkeys(("apple", "banana", "carrot", "leek"), 10))
    run = run_training(folder, tmp_path, "recipe.refit_epochs=1", "recipe.epochs=1", "recipe.warmup_epochs=0")
    assert len(np.load(run / LEARNED_FILE)) == 38
    assert evaluate_run(run, str(folder), tmp_path / "data").summary["val"]["photos"] == 2
    # By the network that is served, so a twentieth of what it has not seen is unfamiliar: at least one photo.
    assert read_spec(run).metrics["val"]["unfamiliar_share"] == 0.5


def test_a_run_is_not_evaluated_on_what_it_has_learned(trained_run: Path, photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has learned from all photos of"):
        evaluate_run(trained_run, str(photo_folder / "train"), tmp_path / "data")


def test_a_run_without_the_record_says_so_and_counts_copies(
    trained_run: Path, field: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "older")
    for file in (LEARNED_FILE, VAL_FILE):
        (run / file).unlink()
    assert evaluate_run(run, str(field), tmp_path / "data").summary["test"]["photos"] == 6
    printed = capsys.readouterr().err
    assert f"has no {LEARNED_FILE}" in printed
    assert f"has no {VAL_FILE}" in printed
