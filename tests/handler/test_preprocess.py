import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.preprocess import preprocess_image, preprocess_photo
from handler.settings import Limits
from handler.spec import Preprocessing
from tests.pictures import draw_corners, draw_waves, encode


def preprocessing(size: int, crop: float = 1.0, interpolation: str = "bicubic") -> Preprocessing:
    return Preprocessing(
        size=size,
        crop=crop,
        interpolation=interpolation,  # type: ignore[arg-type]  # one of the three, of a parameter
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def test_the_central_square_of_the_models_size_is_not_changed() -> None:
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (16, 48, 3), dtype=np.uint8)

    input_HWC = preprocess_photo(encode(Image.fromarray(pixels_HWC)), preprocessing(16), Limits())

    assert input_HWC.dtype == np.uint8
    np.testing.assert_array_equal(input_HWC, pixels_HWC[:, 16:32])


def test_the_crop_is_a_share_of_the_short_side() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))

    input_HWC = preprocess_image(image, preprocessing(16, crop=0.5))

    np.testing.assert_array_equal(input_HWC, np.asarray(image)[8:24, 12:28])


@pytest.mark.parametrize(("interpolation", "resampling"), [("bilinear", 2), ("bicubic", 3), ("lanczos", 1)])
def test_each_interpolation_is_pillows(interpolation: str, resampling: int) -> None:
    image = draw_waves(40, 40)

    input_HWC = preprocess_image(image, preprocessing(16, interpolation=interpolation))

    np.testing.assert_array_equal(input_HWC, np.asarray(image.resize((16, 16), resampling)))


def test_one_step_gives_what_timm_gives_in_two() -> None:
    image = draw_waves(600, 400)
    scaled = image.resize((384, 256), Image.Resampling.BICUBIC)

    input_HWC = preprocess_image(image, preprocessing(224, crop=0.875))

    expected_HWC = np.asarray(scaled.crop((80, 16, 304, 240)))
    assert np.abs(input_HWC.astype(int) - expected_HWC).max() <= 1


@pytest.mark.parametrize("size", [(16, 2000), (2000, 16), (16, 16)])
def test_any_shape_gives_a_square(size: tuple[int, int]) -> None:
    assert preprocess_photo(encode(draw_corners(*size)), preprocessing(224, 0.875), Limits()).shape == (224, 224, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4"}], ids=str)
def test_a_12_megapixel_jpeg_gives_nearly_the_input_of_its_full_decoding(options: dict[str, Any]) -> None:
    photo = encode(draw_waves(4000, 3000), "JPEG", quality=90, **options)
    how = preprocessing(224, crop=0.875)
    full_HWC = preprocess_image(Image.open(io.BytesIO(photo)).convert("RGB"), how)

    input_HWC = preprocess_photo(photo, how, Limits())

    difference = np.abs(input_HWC.astype(int) - full_HWC)
    assert difference.mean() < 0.5
    assert difference.max() <= 4


def test_a_small_crop_of_a_large_jpeg_keeps_its_detail() -> None:
    blocks_HWC = np.random.default_rng(0).integers(0, 256, (75, 100, 3), dtype=np.uint8)
    photo = encode(Image.fromarray(blocks_HWC).resize((1200, 900), Image.Resampling.NEAREST), "JPEG", quality=90)
    how = preprocessing(80, crop=0.5)
    full_HWC = preprocess_image(Image.open(io.BytesIO(photo)).convert("RGB"), how)

    input_HWC = preprocess_photo(photo, how, Limits())

    # It would be 19 if the image were first reduced to less than the crop needs.
    assert np.abs(input_HWC.astype(int) - full_HWC).mean() < 6
