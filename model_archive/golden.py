"""The golden set: a few pictures that travel in the archive with the network's own answers.

A server that gives them back runs the model that was built. The pictures are generated, so that no
photo of a person's is published with a model. Axes: B batch, H height, W width, C channel, K class.
"""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.answer import Prediction, rank_labels
from handler.engine import Floats, Photos
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from handler.spec import Spec

FILE_NAME = "golden.json"

_NUM_CANDIDATES = 48
_NUM_KEPT = 4
_SIDE = 96
# Below it another CPU's rounding could turn the answer.
_MIN_MARGIN = 0.2


class GoldenPhoto(msgspec.Struct, frozen=True):
    photo: bytes
    """PNG; base64 in JSON."""
    label: str
    probability: float


def choose_golden(spec: Spec, infer: Callable[[Photos], Floats]) -> list[GoldenPhoto]:
    """Return the pictures whose first labels are surest, of different labels where there are such.

    *infer* gives logits_BK for uint8 photos_BHWC.
    """
    pictures = [_draw_picture(seed) for seed in range(_NUM_CANDIDATES)]
    photos_BHWC = np.stack([preprocess_photo(png, spec.preprocessing, Limits()) for png in pictures])
    ranked = sorted(
        zip(pictures, rank_labels(infer(photos_BHWC), spec), strict=True), key=lambda pair: -_margin(pair[1])
    )
    firsts: dict[int, tuple[bytes, Prediction]] = {}
    for picture, prediction in ranked:
        firsts.setdefault(prediction.class_indices[0], (picture, prediction))
    surest, *others = firsts.values()
    kept = [surest, *(pair for pair in others if _margin(pair[1]) >= _MIN_MARGIN)][:_NUM_KEPT]
    return [
        GoldenPhoto(picture, spec.labels[prediction.class_indices[0]], round(prediction.probabilities[0], 3))
        for picture, prediction in kept
    ]


def write_golden(golden: list[GoldenPhoto], folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(golden) + b"\n")


def read_golden(archive: Path) -> list[GoldenPhoto]:
    """Return the golden set of the archive file *archive*, surest first."""
    with zipfile.ZipFile(archive) as members:
        return msgspec.json.decode(members.read(FILE_NAME), type=list[GoldenPhoto])


def _margin(prediction: Prediction) -> float:
    return prediction.probabilities[0] - prediction.probabilities[1]


def _draw_picture(seed: int) -> bytes:
    """Return a PNG of coloured discs, the same for the same *seed*."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    pixels_HWC: NDArray[np.uint8] = np.full((_SIDE, _SIDE, 3), random.integers(0, 256, 3), dtype=np.uint8)
    for _ in range(random.integers(1, 6)):
        row, column, radius = random.integers(0, _SIDE, 2).tolist() + [int(random.integers(8, _SIDE // 2))]
        disc_HW = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        pixels_HWC[disc_HW] = random.integers(0, 256, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()
