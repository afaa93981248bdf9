"""The golden set: drawn pictures and the answers of the network. Axes as in handler/engine.py."""

import colorsys
import io
import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from handler.answer import Prediction, predict
from handler.engine import Outputs, Photos
from handler.familiarity import Familiarity
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from handler.spec import INVALID_JSON, Spec
from model_archive.identity import ArchiveError, read_members

FILE_NAME = "golden.json"

_NUM_CANDIDATES = 400
_NUM_KEPT = 4
_BATCH = 16
_SIDE = 128
# With a smaller margin another CPU's rounding could change the first label.
_MIN_MARGIN = 0.2
# As a share of the threshold, for the same reason.
_MIN_DISTANCE = 0.1


class GoldenSample(msgspec.Struct, frozen=True, omit_defaults=True):
    photo: bytes
    label: str
    probability: float
    unfamiliar: bool | None = None
    """None: the archive cannot tell, or another CPU's rounding could change it."""


def choose_golden(
    spec: Spec, infer: Callable[[Photos], Outputs], familiarity: Familiarity | None = None
) -> list[GoldenSample]:
    """Return the pictures with the most confident first labels, at most one a label, most confident first."""
    pictures = [_draw_picture(seed) for seed in range(_NUM_CANDIDATES)]
    photos = (preprocess_photo(picture, spec.preprocessing, Limits()) for picture in pictures)
    batches = iter(lambda: list(itertools.islice(photos, _BATCH)), [])
    predictions = [answer for batch in batches for answer in predict(infer(np.stack(batch)), spec, familiarity)]
    ranked = sorted(zip(pictures, predictions, strict=True), key=lambda pair: -_margin(pair[1]))
    firsts: dict[int, tuple[bytes, Prediction]] = {}
    for picture, prediction in ranked:
        firsts.setdefault(prediction.class_indices[0], (picture, prediction))
    best, *others = firsts.values()
    kept = [best, *(pair for pair in others if _margin(pair[1]) >= _MIN_MARGIN)][:_NUM_KEPT]
    return [
        GoldenSample(
            picture,
            spec.labels[prediction.class_indices[0]],
            round(prediction.probabilities[0], 3),
            _decide_clearly(prediction),
        )
        for picture, prediction in kept
    ]


def write_golden(golden: list[GoldenSample], folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(msgspec.json.encode(golden) + b"\n")


def read_golden(archive: Path) -> list[GoldenSample]:
    """Return the golden set of the file *archive*, most confident first; raise `ArchiveError` or `OSError`."""
    (text,) = read_members(archive, FILE_NAME)
    try:
        golden = msgspec.json.decode(text, type=list[GoldenSample])
    except INVALID_JSON as error:
        raise ArchiveError(f"{archive.name} has a golden set that this fruity cannot read: {error}") from error
    if not golden:
        raise ArchiveError(f"{archive.name} has an empty golden set; build it again with make archive")
    return golden


def _margin(prediction: Prediction) -> float:
    return prediction.probabilities[0] - prediction.probabilities[1]


def _decide_clearly(prediction: Prediction) -> bool | None:
    score = prediction.unfamiliarity
    return None if score is None or abs(score - 1.0) < _MIN_DISTANCE else prediction.unfamiliar


def _draw_picture(seed: int) -> bytes:
    """Return a PNG of shaded balls in fruit's colours, the same for the same *seed*."""
    random = np.random.default_rng(seed)
    y_HW, x_HW = np.mgrid[:_SIDE, :_SIDE] / _SIDE - 0.5
    pixels_HWC = np.full((_SIDE, _SIDE, 3), random.uniform(150, 255, 3))
    hue = random.uniform(0, 0.35)
    for _ in range(random.integers(1, 5)):
        x, y = random.uniform(-0.25, 0.25, 2)
        radius, stretch = random.uniform(0.15, 0.35), random.uniform(0.7, 1.3)
        across_HW, down_HW = (x_HW - x) / radius, (y_HW - y) / (radius * stretch)
        distance_HW = across_HW**2 + down_HW**2
        towards_HW = np.sqrt(np.clip(1 - distance_HW, 0, 1))
        # Lit from the upper left, with a highlight.
        light_HW1 = np.clip(0.75 * towards_HW - 0.4 * across_HW - 0.5 * down_HW, 0.1, 1)[..., None]
        colour = colorsys.hsv_to_rgb((hue + random.uniform(-0.02, 0.02)) % 1, *random.uniform(0.7, 1, 2))
        ball_HWC = 255 * np.array(colour) * light_HW1 + 90 * light_HW1**20
        pixels_HWC = np.where((distance_HW < 1)[..., None], ball_HWC, pixels_HWC)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels_HWC, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
