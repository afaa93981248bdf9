"""The photos that drift detection is measured with, as the served model sees them.

Axes: N photos, H height, W width, C channel, D embedding, R direction, K class.
"""

import csv
import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from handler.answer import rank_labels
from handler.engine import Engine, Floats, Photos, count_cpus, load_engine
from handler.familiarity import normalise
from handler.photo_statistics import measure_entropy, measure_photos
from handler.preprocess import preprocess_image, preprocess_photo
from handler.settings import Limits
from handler.spec import Spec, read_spec

Change = Callable[[Photos, np.random.Generator], Photos]
"""From a photo_HWC to a changed one."""

_NUM_DIRECTIONS = 96
_BATCH = 16
_CROP = 0.6


class Labelled(NamedTuple):
    path: Path
    label: str
    coarse_label: str


@dataclass(frozen=True)
class Pool:
    """Photos of one kind, from which windows are drawn."""

    statistics: Mapping[str, Floats]
    embeddings_ND: Floats
    """Of length 1."""

    def __len__(self) -> int:
        return len(self.embeddings_ND)


def compress(photo_HWC: Photos) -> Photos:
    jpeg = io.BytesIO()
    Image.fromarray(photo_HWC).save(jpeg, "JPEG", quality=10)
    return np.asarray(Image.open(jpeg))


CHANGES: Mapping[str, Change] = {
    "blur (sigma 2 at the served size)": lambda photo_HWC, _: np.asarray(
        Image.fromarray(photo_HWC).filter(ImageFilter.GaussianBlur(2))
    ),
    "noise (deviation 30 of 255)": lambda photo_HWC, rng: (
        (photo_HWC + rng.normal(0.0, 30.0, photo_HWC.shape)).round().clip(0, 255).astype(np.uint8)
    ),
    "darkness (half)": lambda photo_HWC, _: photo_HWC // 2,
    "JPEG quality 10": lambda photo_HWC, _: compress(photo_HWC),
    "rotation by 90 degrees": lambda photo_HWC, _: np.ascontiguousarray(np.rot90(photo_HWC)),
}


def read_grocery(folder: Path) -> tuple[list[Labelled], list[Labelled], list[Labelled]]:
    """Return train in two halves and val; of each label's photos the half with the lower numbers is first."""
    rows = list(csv.DictReader((folder / "labels.csv").read_text(encoding="utf-8").splitlines()))
    by_split: dict[str, dict[str, list[Labelled]]] = {"train": {}, "val": {}}
    for row in sorted(rows, key=lambda row: row["file"]):
        photo = Labelled(folder / row["file"], row["label"], row["coarse_label"])
        by_split[row["split"]].setdefault(photo.label, []).append(photo)
    halves = [(photos[: len(photos) // 2], photos[len(photos) // 2 :]) for photos in by_split["train"].values()]
    first, second = ([photo for half in side for photo in half] for side in zip(*halves, strict=True))
    return first, second, [photo for photos in by_split["val"].values() for photo in photos]


class Model:
    """An archive's engine on photos, in its preprocessing."""

    def __init__(self, archive: Path) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        with zipfile.ZipFile(archive) as members:
            members.extractall(self._scratch.name)
        folder = Path(self._scratch.name)
        self.spec: Spec = read_spec(folder)
        self._engine: Engine = load_engine(folder, "openvino", count_cpus())

    def preprocess(self, photos: Sequence[Labelled]) -> Photos:
        how = self.spec.preprocessing
        return np.stack([preprocess_photo(photo.path.read_bytes(), how, Limits()) for photo in photos])

    def preprocess_other(self) -> Photos:
        """Return pictures of no groceries: scikit-image's, and four corners of each."""
        pictures = [picture for whole in read_pictures() for picture in (whole, *_cut_corners(whole))]
        return np.stack([preprocess_image(picture, self.spec.preprocessing) for picture in pictures])

    def measure(self, photos_NHWC: Photos) -> Pool:
        outputs = self._engine.run(photos_NHWC)
        ranked = rank_labels(outputs.logits_BK, self.spec)
        probabilities_NK = np.array([one.probabilities for one in ranked], dtype=np.float32)
        found = measure_photos(photos_NHWC)
        statistics = {
            "confidence": probabilities_NK[:, 0],
            "entropy": measure_entropy(probabilities_NK),
            "brightness": found.brightness_B,
            "contrast": found.contrast_B,
            "sharpness": found.sharpness_B,
            "anisotropy": found.anisotropy_B,
        }
        return Pool(statistics, normalise(outputs.embeddings_BD))


def find_directions(embeddings_ND: Floats) -> Floats:
    """Return directions_DR, the principal ones, as training takes them from the train photos."""
    directions_DD = np.linalg.eigh(embeddings_ND.T @ embeddings_ND)[1][:, ::-1]
    return directions_DD[:, :_NUM_DIRECTIONS].astype(np.float32)


def answer(photos: Sequence[Labelled], labels: Sequence[str], wrong: float, seed: int) -> NDArray[np.int64]:
    """Return the class index of each photo; a share of *wrong* is another label of the same coarse label."""
    rng = np.random.default_rng(seed)
    coarse = {photo.label: photo.coarse_label for photo in photos}
    indices = {label: k for k, label in enumerate(labels)}
    others = {
        label: [indices[other] for other in coarse if coarse[other] == coarse[label] and other != label]
        for label in coarse
    }
    return np.array(
        [
            rng.choice(others[photo.label]) if others[photo.label] and rng.random() < wrong else indices[photo.label]
            for photo in photos
        ]
    )


def read_pictures() -> list[Image.Image]:
    """Return the pictures that are installed with scikit-image and readable as RGB."""
    folder = Path(skimage.__file__).parent / "data"
    files = [path for path in sorted(folder.iterdir()) if path.suffix in {".gif", ".jpg", ".jpeg", ".png"}]
    return [Image.open(path).convert("RGB") for path in files]


def _cut_corners(picture: Image.Image) -> Iterator[Image.Image]:
    side = int(_CROP * min(picture.size))
    if side >= 120:
        for left in (0, picture.width - side):
            for top in (0, picture.height - side):
                yield picture.crop((left, top, left + side, top + side))
