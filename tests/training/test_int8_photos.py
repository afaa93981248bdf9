import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from handler.preprocess import preprocess_photo
from training.config import EvaluationConfig
from training.data.inspection import TRAINING_LIMITS
from training.data.photo_set import Photo, PhotoSet
from training.int8_photos import draw_evenly, keep_photos, write_photos
from training.network import default_preprocessing

PREPROCESSING = default_preprocessing("test_efficientnet", size=64, crop=0.875)


@pytest.mark.parametrize(
    ("count", "drawn"),
    [
        (3, {"apple": 1, "banana": 1, "carrot": 1}),
        (12, {"apple": 5, "banana": 5, "carrot": 2}),
        (1000, {"apple": 90, "banana": 8, "carrot": 2}),
    ],
)
def test_labels_are_drawn_from_in_turn_until_they_are_empty(count: int, drawn: dict[str, int]) -> None:
    counts = {"apple": 90, "banana": 8, "carrot": 2}
    photos = [Photo(Path(f"{number}.jpg"), label) for label, size in counts.items() for number in range(size)]

    assert Counter(photo.label for photo in draw_evenly(photos, count, seed=0)) == drawn


def configure(calibration: int, gate: int) -> EvaluationConfig:
    return EvaluationConfig(precision=0.95, robustness_photos=0, calibration_photos=calibration, gate_photos=gate)


def keep(photo_set: PhotoSet, path: Path, calibration: int, gate: int, seed: int = 0) -> dict[str, list[bytes]]:
    """Return the kept pixels by `<set>/<class index>`, read from the written *path*."""
    kept = keep_photos(photo_set, PREPROCESSING, configure(calibration, gate), seed)
    assert kept is not None
    write_photos(path, kept)
    pixels: dict[str, list[bytes]] = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            pixels.setdefault(name.rpartition("/")[0], []).append(np.asarray(Image.open(archive.open(name))).tobytes())
    return pixels


def test_train_is_kept_to_calibrate_and_val_to_evaluate_as_they_would_be_served(
    photo_set: PhotoSet, tmp_path: Path
) -> None:
    kept = keep(photo_set, tmp_path / "photos.zip", calibration=4, gate=1000)

    sizes = {name: len(pixels) for name, pixels in kept.items()}
    assert sizes == {f"{name}/{index}": size for name, size in (("calibration", 1), ("gate", 2)) for index in range(4)}
    for index, label in enumerate(photo_set.labels):
        photos = [photo.path.read_bytes() for photo in photo_set.of("val") if photo.label == label]
        served = {preprocess_photo(photo, PREPROCESSING, TRAINING_LIMITS).tobytes() for photo in photos}
        assert set(kept[f"gate/{index}"]) == served


def test_equal_seeds_keep_equal_bytes(photo_set: PhotoSet, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first", "again", "other")]
    kept = [keep(photo_set, path, 6, 5, seed) for path, seed in zip(paths, (0, 0, 1), strict=True)]

    first, again, other = (path.read_bytes() for path in paths)
    assert first == again != other
    assert sum(len(pixels) for name, pixels in kept[0].items() if name.startswith("gate/")) == 5


@pytest.mark.parametrize(("calibration", "gate"), [(0, 5), (5, 0)])
def test_a_count_of_0_keeps_nothing(photo_set: PhotoSet, calibration: int, gate: int) -> None:
    assert keep_photos(photo_set, PREPROCESSING, configure(calibration, gate), seed=0) is None
