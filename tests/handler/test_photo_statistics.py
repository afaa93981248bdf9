import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from handler.engine import Photos
from handler.photo_statistics import measure_entropy, measure_photos


def grey(level: int) -> Photos:
    return np.full((64, 64, 3), level, dtype=np.uint8)


def halves() -> Photos:
    photo_HWC = grey(0)
    photo_HWC[:, 32:] = 255
    return photo_HWC


def checkerboard() -> Photos:
    return np.repeat((np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture
def coffee_square(coffee: bytes) -> Image.Image:
    return Image.open(io.BytesIO(coffee)).convert("RGB").resize((224, 224))


def test_each_photo_of_a_batch_gets_its_brightness_contrast_and_sharpness() -> None:
    found = measure_photos(np.stack([grey(0), grey(255), grey(51), halves(), checkerboard()]))

    assert found.brightness_B == pytest.approx([0, 1, 0.2, 0.5, 0.5], abs=1e-5)
    assert found.contrast_B == pytest.approx([0, 0, 0, 0.5, 0.5], abs=1e-3)
    # Of halves only the two columns at the border have an edge; a checkerboard is cut at 1.
    assert found.sharpness_B == pytest.approx([0, 0, 0, 2 / 62, 1], abs=1e-5)


@pytest.mark.parametrize(("colour", "luma"), [((255, 0, 0), 0.299), ((0, 255, 0), 0.587), ((0, 0, 255), 0.114)])
def test_brightness_weighs_colours_as_luma_does(colour: tuple[int, int, int], luma: float) -> None:
    photo_HWC = np.full((32, 32, 3), colour, dtype=np.uint8)

    assert measure_photos(photo_HWC[None]).brightness_B == pytest.approx([luma], abs=1e-5)


def test_rows_that_are_left_out_change_little_and_blur_changes_much(coffee_square: Image.Image) -> None:
    photo_HWC = np.asarray(coffee_square)
    luma_HW = np.asarray(coffee_square.convert("L"), dtype=np.float32) / 255
    blurred_HWC = np.asarray(coffee_square.filter(ImageFilter.GaussianBlur(2)))

    found = measure_photos(np.stack([photo_HWC, blurred_HWC]))

    assert found.brightness_B[0] == pytest.approx(luma_HW.mean(), rel=0.05)
    assert found.contrast_B[0] == pytest.approx(luma_HW.std(), rel=0.05)
    assert found.brightness_B[1] == pytest.approx(found.brightness_B[0], rel=0.01)
    assert found.sharpness_B[1] < found.sharpness_B[0] / 4


def test_the_smallest_and_an_odd_input_are_measured() -> None:
    assert measure_photos(np.full((1, 16, 16, 3), 255, dtype=np.uint8)).brightness_B == pytest.approx([1.0], abs=1e-5)
    assert measure_photos(np.full((1, 261, 261, 3), 255, dtype=np.uint8)).sharpness_B == pytest.approx([0.0], abs=1e-5)


def test_a_turned_photo_has_one_minus_the_anisotropy(coffee_square: Image.Image) -> None:
    photo_HWC = np.asarray(coffee_square)

    columns = measure_photos(np.stack([halves(), grey(9)]))
    turned = measure_photos(np.stack([photo_HWC, np.rot90(photo_HWC)]))

    assert columns.anisotropy_B.tolist() == [0.0, 0.5]
    assert turned.anisotropy_B.sum() == pytest.approx(1.0, abs=0.05)


def test_entropy_is_a_share_of_the_largest_possible() -> None:
    probabilities_BK = np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]], dtype=np.float32)

    assert measure_entropy(probabilities_BK) == pytest.approx([0.0, 1.0, 0.5], abs=1e-6)
