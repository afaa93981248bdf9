from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from handler.decode import decode_photo
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from tests.colour_profiles import (
    DISPLAY_P3,
    PROPHOTO,
    SRGB,
    cmyk_profile,
    grey_profile,
    rgb_profile,
    with_tag,
)
from tests.pictures import draw_waves, encode
from tests.specs import make_spec

P3 = rgb_profile(DISPLAY_P3)
ORANGE = (200, 120, 60)


def decode_colour(colour: Any, mode: str = "RGB", kind: str = "PNG", **options: Any) -> tuple[int, ...]:
    image = decode_photo(encode(Image.new(mode, (64, 64), colour), kind, **options), Limits(), 32)
    return tuple(np.asarray(image)[20, 20].tolist())


def write_srgb(linear_RGB: Any) -> Any:
    """Return light in [0, 1] as sRGB in [0, 255] (IEC 61966-2-1)."""
    return 255 * np.where(linear_RGB <= 0.0031308, 12.92 * linear_RGB, 1.055 * linear_RGB ** (1 / 2.4) - 0.055)


def read_srgb(colour: Sequence[int]) -> Any:
    rgb = np.array(colour) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def to_srgb_by_formula(linear_RGB: Any, primaries: Any) -> Any:
    return write_srgb(np.linalg.inv(np.array(SRGB).T) @ np.array(primaries).T @ linear_RGB)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "TIFF", "HEIF"])
def test_display_p3_becomes_srgb_in_every_format_that_has_profiles(kind: str) -> None:
    options: dict[str, Any] = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF", "HEIF") else {}

    colour = decode_colour(ORANGE, kind=kind, icc_profile=P3, **options)

    np.testing.assert_allclose(colour, to_srgb_by_formula(read_srgb(ORANGE), DISPLAY_P3), atol=4)


def test_prophoto_with_its_own_curve_becomes_srgb() -> None:
    grape = (120, 100, 110)

    colour = decode_colour(grape, icc_profile=rgb_profile(PROPHOTO, gamma=1.8))

    expected = to_srgb_by_formula((np.array(grape) / 255) ** 1.8, PROPHOTO)
    np.testing.assert_allclose(colour, expected, atol=2)
    assert np.abs(expected - grape).max() > 15


@pytest.mark.parametrize(
    "profile",
    [b"", rgb_profile(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
    ids=["none", "sRGB", "Little CMS's sRGB"],
)
def test_without_a_profile_or_with_srgb_pixels_stay_as_they_are(profile: bytes) -> None:
    photo = draw_waves(64, 64)

    image = decode_photo(encode(photo, icc_profile=profile), Limits(), 64)

    np.testing.assert_array_equal(np.asarray(image), np.asarray(photo))


@pytest.mark.parametrize(
    "profile",
    [
        b"garbage",
        bytes(10_000),
        P3[:200],
        P3[:132] + bytes(len(P3) - 132),
        P3 + bytes(10_000_000),
        cmyk_profile(),
        grey_profile(2.2),
        with_tag(P3, "D2B0"),
        P3[:12] + b"link" + P3[16:],
        P3[:128] + b"\xff" * 4 + P3[132:],
    ],
    ids=["text", "zeros", "cut", "no tags", "10 MB", "CMYK", "grey", "chain", "device link", "4 billion tags"],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_broken_or_wrong_profile_is_ignored(profile: bytes, mode: str) -> None:
    image = Image.new(mode, (64, 64), ORANGE)

    assert decode_photo(encode(image, "TIFF", icc_profile=profile), Limits(), 32).getpixel((9, 9)) == ORANGE


@pytest.mark.parametrize(
    "profile",
    [
        with_tag(P3, "D2B1"),
        with_tag(P3, "B2D0"),
        with_tag(cmyk_profile(), "D2B1"),
        with_tag(P3[:12] + b"link" + P3[16:], "D2B1"),
    ],
    ids=["D2B1", "B2D0", "CMYK", "device link"],
)
def test_a_profile_with_a_chain_is_not_even_read(profile: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageCms, "buildTransform", lambda *_: pytest.fail("Little CMS got the profile"))

    assert decode_colour(ORANGE, icc_profile=profile) == ORANGE


def test_a_very_long_image_keeps_its_colours() -> None:
    image = Image.new("RGB", (200_000, 32), ORANGE)

    assert decode_photo(encode(image, icc_profile=P3), Limits(), 32).getpixel((9, 9)) == ORANGE


def test_alpha_is_kept_and_laid_on_white() -> None:
    half = decode_colour((*ORANGE, 128), "RGBA", icc_profile=P3)
    opaque = decode_colour((*ORANGE, 255), "RGBA", icc_profile=P3)

    np.testing.assert_allclose(opaque, decode_colour(ORANGE, icc_profile=P3), atol=1)
    np.testing.assert_allclose(half, (np.array(opaque) + 255) / 2, atol=2)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile(kind: str) -> None:
    cyan = (255, 0, 0, 0)

    without = decode_colour(cyan, "CMYK", kind)
    red, green, blue = decode_colour(cyan, "CMYK", kind, icc_profile=cmyk_profile())

    np.testing.assert_allclose(without, (0, 255, 255), atol=4)
    assert (red > 200, green < 60, blue < 60) == (True, True, True)


def test_grey_is_converted_by_its_profile() -> None:
    grey = decode_colour(60, "L", icc_profile=grey_profile(1.0))

    # 60 / 255 is linear light, which sRGB writes as 133.
    np.testing.assert_allclose(grey, (133, 133, 133), atol=2)


@pytest.mark.parametrize(("mode", "colour"), [("P", 0), ("1", 1), ("LA", (60, 255)), ("I;16", 30_000)])
def test_other_modes_are_decoded_with_any_profile(mode: str, colour: Any) -> None:
    assert len(decode_colour(colour, mode, "TIFF", icc_profile=P3)) == 3


def test_the_one_preprocessing_converts_so_training_and_serving_do() -> None:
    preprocessing = make_spec().preprocessing
    photo = encode(Image.new("RGB", (300, 200), ORANGE), icc_profile=P3)

    served_HWC = preprocess_photo(photo, preprocessing, Limits())

    assert tuple(served_HWC[5, 5].tolist()) == decode_colour(ORANGE, icc_profile=P3)
