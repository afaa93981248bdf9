import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.preprocess import preprocess_photo
from tests.training.tiny_runs import tiny_config
from training.data.photo_set import Photo, PhotoSet
from training.int8_photos import draw_evenly, keep_photos, write_photos
from training.loader import TRAINING_LIMITS
from training.network import default_preprocessing

PREPROCESSING = default_preprocessing("test_efficientnet", size=64, crop=0.875)


def make_photos(**counts: int) -> list[Photo]:
    return [
        Photo(Path(f"{label}-{number}.jpg"), label, None, "train")
        for label, count in counts.items()
        for number in range(count)
    ]


def count_labels(photos: list[Photo]) -> dict[str, int]:
    return {label: sum(photo.label == label for photo in photos) for label in ("apple", "banana", "carrot")}


@pytest.mark.parametrize(
    ("count", "drawn"),
    [
        (3, {"apple": 1, "banana": 1, "carrot": 1}),
        (12, {"apple": 5, "banana": 5, "carrot": 2}),
        (1000, {"apple": 90, "banana": 8, "carrot": 2}),
    ],
)
def test_labels_are_drawn_from_in_turn_until_they_have_no_more(count: int, drawn: dict[str, int]) -> None:
    photos = make_photos(apple=90, banana=8, carrot=2)

    assert count_labels(draw_evenly(photos, count, seed=0)) == drawn


def test_the_seed_decides_what_is_drawn() -> None:
    photos = make_photos(apple=50, banana=50)

    first, again, other = (draw_evenly(photos, 10, seed) for seed in (0, 0, 1))

    assert first == again
    assert first != other


def keep(photo_set: PhotoSet, folder: Path, calibration: int, gate: int, seed: int = 0) -> Path | None:
    overrides = (f"evaluation.calibration_photos={calibration}", f"evaluation.gate_photos={gate}")
    kept = keep_photos(photo_set, PREPROCESSING, tiny_config(folder, folder, *overrides).evaluation, seed)
    if kept is None:
        return None
    path = folder / f"{seed}-{calibration}-{gate}.zip"
    write_photos(path, kept)
    return path


def test_train_is_kept_to_calibrate_and_val_to_judge_by_their_class_index(photo_set: PhotoSet, tmp_path: Path) -> None:
    path = keep(photo_set, tmp_path, calibration=6, gate=1000)

    assert path is not None
    with zipfile.ZipFile(path) as archive:
        names = [name.split("/") for name in archive.namelist()]
    calibration = sorted(index for kind, index, _ in names if kind == "calibration")
    gate = sorted(index for kind, index, _ in names if kind == "gate")
    assert (len(calibration), set(calibration)) == (6, {"0", "1", "2", "3"})
    assert gate == ["0", "0", "1", "1", "2", "2", "3", "3"]


def test_what_is_kept_are_the_very_pixels_that_would_be_served(photo_set: PhotoSet, tmp_path: Path) -> None:
    served = {
        preprocess_photo(photo.path.read_bytes(), PREPROCESSING, TRAINING_LIMITS).tobytes()
        for photo in photo_set.of("val")
    }

    path = keep(photo_set, tmp_path, calibration=1, gate=1000)

    assert path is not None
    with zipfile.ZipFile(path) as archive:
        kept = {
            np.asarray(Image.open(archive.open(name))).tobytes()
            for name in archive.namelist()
            if name.startswith("gate")
        }
    assert kept == served


def test_the_gate_gets_as_many_photos_as_are_asked_for(photo_set: PhotoSet, tmp_path: Path) -> None:
    path = keep(photo_set, tmp_path, calibration=1, gate=5)

    assert path is not None
    with zipfile.ZipFile(path) as archive:
        assert sum(name.startswith("gate/") for name in archive.namelist()) == 5


def test_equal_seeds_keep_equal_bytes(photo_set: PhotoSet, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()

    first, again = (keep(photo_set, folder, 6, 5) for folder in (tmp_path, tmp_path / "again"))
    other = keep(photo_set, tmp_path, 6, 5, seed=1)

    assert first is not None
    assert again is not None
    assert other is not None
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.parametrize(("calibration", "gate"), [(0, 5), (5, 0), (0, 0)])
def test_a_count_of_0_keeps_nothing(photo_set: PhotoSet, tmp_path: Path, calibration: int, gate: int) -> None:
    assert keep(photo_set, tmp_path, calibration, gate) is None
