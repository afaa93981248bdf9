"""The heatmap shows what decided: the pointing game, and what hiding its hottest places costs.

Axes: H height, W width, C channel.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.grocery import GROCERY
from handler.answer import softmax
from handler.engine import Engine, load_engine
from handler.explain import draw_heatmap
from handler.preprocess import preprocess_image
from handler.spec import Spec, read_spec
from serving.model_store import FINE_TUNED_ARCHIVE
from tests.conftest import unpack

# A square photo of OBJECT pixels is pasted on a grey square of CANVAS pixels.
CANVAS, OBJECT = 512, 220
NUM_PHOTOS = 40
HIDDEN_SHARE = 0.1


class Explained(NamedTuple):
    points_at_object: bool
    lost_by_hiding_hottest: float
    """Probability of the first label that is lost when the hottest tenth of the photo is hidden."""
    lost_by_hiding_random: float


def explain_pasted(engine: Engine, spec: Spec, image: Image.Image, rng: np.random.Generator) -> Explained:
    left, top = (int(value) for value in rng.integers(40, CANVAS - OBJECT - 40, 2))
    canvas = Image.new("RGB", (CANVAS, CANVAS), (127, 127, 127))
    canvas.paste(image.resize((OBJECT, OBJECT)), (left, top))
    photo_HWC = preprocess_image(canvas, spec.preprocessing)
    logits_K = engine.run(photo_HWC[None]).logits_BK[0]
    label = int(logits_K.argmax())
    heatmap_HW = draw_heatmap(engine.class_activation_maps(photo_HWC[None])[0, label], spec.preprocessing.size)
    side = CANVAS * spec.preprocessing.crop
    row, column = np.unravel_index(heatmap_HW.argmax(), heatmap_HW.shape)
    x, y = ((CANVAS - side) / 2 + place / spec.preprocessing.size * side for place in (column, row))
    hidden = [hide(photo_HWC, heatmap_HW), hide(photo_HWC, draw_random_map(spec.preprocessing.size, rng))]
    logits_BK = np.concatenate([logits_K[None], engine.run(np.stack(hidden)).logits_BK])
    shares_BK = softmax((logits_BK / spec.temperature).astype(np.float32))
    before, without_hottest, without_random = shares_BK[:, label].tolist()
    return Explained(
        bool(left <= x <= left + OBJECT and top <= y <= top + OBJECT), before - without_hottest, before - without_random
    )


def draw_random_map(size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a map of patches as large as those of a heatmap."""
    return draw_heatmap(rng.random((7, 7)).astype(np.float32), size)


def hide(photo_HWC: NDArray[np.uint8], map_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the photo with its mean colour where *map_HW* is highest."""
    hidden_HWC = photo_HWC.copy()
    hidden_HWC[map_HW >= np.quantile(map_HW, 1 - HIDDEN_SHARE)] = photo_HWC.mean(axis=(0, 1))
    return hidden_HWC


def read_groceries() -> Iterator[Image.Image]:
    files = sorted((GROCERY / "val").rglob("*.jpg"))
    for file in files[:: len(files) // NUM_PHOTOS][:NUM_PHOTOS]:
        with Image.open(file) as image:
            yield image.convert("RGB").crop((0, 0, min(image.size), min(image.size)))


def test_the_hottest_place_is_on_the_cup(default_folder: Path, coffee: bytes) -> None:
    spec, engine = read_spec(default_folder), load_engine(default_folder, "openvino", threads=1)
    cup = Image.open(io.BytesIO(coffee)).convert("RGB").crop((130, 20, 470, 360))
    rng = np.random.default_rng(0)

    explained = [explain_pasted(engine, spec, cup, rng) for _ in range(20)]

    assert sum(one.points_at_object for one in explained) >= 0.8 * len(explained)


@pytest.mark.skipif(not GROCERY.exists(), reason="the Grocery Store photos are not at ../shared/data/grocery")
def test_the_hottest_place_is_on_the_grocery_and_hiding_it_costs_most(tmp_path: Path) -> None:
    folder = unpack(FINE_TUNED_ARCHIVE, tmp_path)
    spec, engine = read_spec(folder), load_engine(folder, "openvino", threads=1)
    rng = np.random.default_rng(0)

    explained = [explain_pasted(engine, spec, image, rng) for image in read_groceries()]

    assert sum(one.points_at_object for one in explained) >= 0.8 * len(explained)
    hottest, random = (np.mean(lost) for lost in list(zip(*explained, strict=True))[1:])
    assert hottest > 3 * random
