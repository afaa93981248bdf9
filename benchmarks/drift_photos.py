"""The photos that drift detection is measured with, as the served model sees them.

Axes: N photos, H height, W width, C channel, D embedding, R direction, K class.
"""

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from benchmarks.grocery import GroceryPhoto, read_grocery
from handler.answer import rank_labels
from handler.drift_reference import STATISTICS
from handler.engine import Floats, Photos, count_cpus, load_engine
from handler.familiarity import Familiarity, normalise
from handler.observation import describe_photos
from handler.preprocess import preprocess_image, preprocess_photo
from handler.settings import Limits
from handler.spec import read_spec

Change = Callable[[Photos, np.random.Generator], Photos]  # from a photo_HWC to a changed one

_NUM_DIRECTIONS = 96
_CROP = 0.6


@dataclass(frozen=True)
class Pool:
    """Photos of one kind, from which windows are drawn."""

    statistics: Mapping[str, Floats]
    coordinates_NR: Floats  # of their embeddings

    def __len__(self) -> int:
        return len(self.coordinates_NR)


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


def split_grocery(folder: Path) -> tuple[list[GroceryPhoto], list[GroceryPhoto], list[GroceryPhoto]]:
    """Return train in two halves and val; of each label's photos the half with the lower numbers is first."""
    splits = read_grocery(folder)
    halves = [(photos[: len(photos) // 2], photos[len(photos) // 2 :]) for photos in splits["train"].values()]
    first, second = ([photo for half in side for photo in half] for side in zip(*halves, strict=True))
    return first, second, [photo for photos in splits["val"].values() for photo in photos]


class Model:
    """An archive's engine on photos, in its preprocessing."""

    def __init__(self, archive: Path) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        with zipfile.ZipFile(archive) as members:
            members.extractall(self._scratch.name)
        folder = Path(self._scratch.name)
        self._spec, self._engine = read_spec(folder), load_engine(folder, "openvino", count_cpus())

    def preprocess(self, photos: Sequence[GroceryPhoto]) -> Photos:
        how = self._spec.preprocessing
        return np.stack([preprocess_photo(photo.path.read_bytes(), how, Limits()) for photo in photos])

    def preprocess_other(self) -> Photos:
        """Return pictures of no groceries: those that are installed with scikit-image, and four corners of each."""
        paths = sorted((Path(skimage.__file__).parent / "data").iterdir())
        wholes = [Image.open(path).convert("RGB") for path in paths if path.suffix in {".gif", ".jpg", ".jpeg", ".png"}]
        pictures = [picture for whole in wholes for picture in (whole, *_cut_corners(whole))]
        return np.stack([preprocess_image(picture, self._spec.preprocessing) for picture in pictures])

    def learn_familiarity(self, train_NHWC: Photos, val_NHWC: Photos) -> Familiarity:
        """Return what training learns from its photos: their principal directions, and the distances of val."""
        train_ND, val_ND = (normalise(self._engine.run(photos).embeddings_BD) for photos in (train_NHWC, val_NHWC))
        directions_DD = np.linalg.eigh(train_ND.T @ train_ND)[1][:, ::-1]
        directions_DR = directions_DD[:, :_NUM_DIRECTIONS].astype(np.float32)
        distances_N = Familiarity(directions_DR, np.ones((), np.float32)).score(val_ND)
        return Familiarity(directions_DR, np.array(np.quantile(distances_N, 0.95), np.float32))

    def measure(self, photos_NHWC: Photos, familiarity: Familiarity) -> Pool:
        outputs = self._engine.run(photos_NHWC)
        scores = familiarity.score(outputs.embeddings_BD).tolist()
        ranked = zip(rank_labels(outputs.logits_BK, self._spec), scores, strict=True)
        rows = describe_photos(photos_NHWC, [best._replace(unfamiliarity=score) for best, score in ranked])
        statistics = {name: np.array([getattr(row, name) for row in rows], dtype=np.float32) for name in STATISTICS}
        return Pool(statistics, familiarity.project(outputs.embeddings_BD))


def answer(photos: Sequence[GroceryPhoto], labels: Sequence[str], wrong: float, seed: int) -> NDArray[np.int64]:
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


def _cut_corners(picture: Image.Image) -> Iterator[Image.Image]:
    side = int(_CROP * min(picture.size))
    if side >= 120:
        for left in (0, picture.width - side):
            for top in (0, picture.height - side):
                yield picture.crop((left, top, left + side, top + side))
