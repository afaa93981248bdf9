import io

import numpy as np
import pytest
from PIL import Image

from handler.engine import Floats
from handler.explain import draw_heatmap, draw_overlay, encode_png


def high_corner() -> Floats:
    activations_hw = np.full((7, 7), -3.0, dtype=np.float32)
    activations_hw[0, 0] = 5.0
    return activations_hw


def test_the_highest_place_of_the_map_is_the_brightest_in_the_heatmap() -> None:
    heatmap_HW = draw_heatmap(high_corner(), 70)

    assert draw_heatmap(np.ones((7, 7), dtype=np.float32), 14).max() == 0
    assert heatmap_HW.shape == (70, 70)
    assert heatmap_HW.dtype == np.uint8
    assert heatmap_HW[:4, :4].min() == 255
    assert heatmap_HW[30:, :].max() == 0
    assert heatmap_HW[:, 30:].max() == 0


def test_low_places_of_the_overlay_show_the_photo_and_high_ones_the_brightest_colour() -> None:
    photo_HWC = np.full((70, 70, 3), 100, dtype=np.uint8)

    overlay_HWC = draw_overlay(photo_HWC, draw_heatmap(high_corner(), 70))

    # 0.3 of the photo and 0.7 of inferno's last colour, (252, 255, 164).
    assert overlay_HWC[0, 0].tolist() == [206, 208, 145]
    assert overlay_HWC[69, 69].tolist() == [100, 100, 100]


@pytest.mark.parametrize(
    ("heat", "colour"), [(0, [0, 0, 0]), (64, [15, 3, 19]), (128, [66, 20, 29]), (191, [130, 74, 5])]
)
def test_the_colours_between_are_infernos(heat: int, colour: list[int]) -> None:
    black_HWC = np.zeros((1, 1, 3), dtype=np.uint8)

    assert draw_overlay(black_HWC, np.full((1, 1), heat, dtype=np.uint8))[0, 0].tolist() == colour


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_a_png_holds_the_pixels_that_went_in(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    image = Image.open(io.BytesIO(encode_png(pixels)))

    assert image.format == "PNG"
    np.testing.assert_array_equal(np.asarray(image), pixels)
