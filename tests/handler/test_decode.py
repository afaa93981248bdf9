import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from handler.decode import decode_photo
from handler.settings import Limits
from tests.pictures import (
    BLUE,
    FORMATS,
    GREEN,
    RED,
    YELLOW,
    draw_corners,
    draw_waves,
    encode,
    encode_rotated,
    read_corners,
)

LIMITS = Limits()
WHITE = (255, 255, 255)
Colour = tuple[int, ...]
UPRIGHT = [RED, GREEN, BLUE, YELLOW]

# The corners that a viewer shows if `UPRIGHT` is stored with the orientation (EXIF 2.32, tag 274).
TURNED = {
    1: [RED, GREEN, BLUE, YELLOW],
    2: [GREEN, RED, YELLOW, BLUE],
    3: [YELLOW, BLUE, GREEN, RED],
    4: [BLUE, YELLOW, RED, GREEN],
    5: [RED, BLUE, GREEN, YELLOW],
    6: [BLUE, RED, YELLOW, GREEN],
    7: [YELLOW, GREEN, BLUE, RED],
    8: [GREEN, YELLOW, RED, BLUE],
}


def decode(photo: bytes, short_side: int = 64) -> Image.Image:
    return decode_photo(bytearray(photo), LIMITS, short_side)


def halves(left: object, right: object, mode: str) -> Image.Image:
    """Return 20x20 pixels, the left half of one colour, the right half of another."""
    image = Image.new(mode, (20, 20), left)  # type: ignore[arg-type]  # a colour of that mode
    image.paste(right, (10, 0, 20, 20))  # type: ignore[arg-type]
    return image


def read_halves(photo: bytes) -> tuple[Colour, Colour]:
    image = decode(photo)
    assert (image.mode, image.size) == ("RGB", (20, 20))
    left, right = image.getpixel((0, 10)), image.getpixel((19, 10))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    return left, right


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_to_rgb(kind: str) -> None:
    image = decode(encode(draw_corners(), kind))

    assert (image.mode, image.size) == ("RGB", (96, 64))
    assert read_corners(image) == UPRIGHT


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_rotated_phone_photo_is_turned_upright(kind: str, orientation: int) -> None:
    image = decode(encode_rotated(draw_corners(), kind, orientation))

    assert read_corners(image) == TURNED[orientation]
    assert image.size == ((96, 64) if orientation <= 4 else (64, 96))


def write_exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return EXIF of *tags*: number, type (2 text, 3 short, 9 signed long), count and four bytes of value."""
    entries = b"".join(struct.pack("<HHL4s", *tag) for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (write_exif((0x0112, 3, 1, b"\x06\0\0\0"), (0x0100, 2, 4, b"wide")), 6),
        (write_exif((0x0112, 3, 1, b"\x06\0\0\0"), (0x0100, 9, 1, b"\xff\xff\xff\xff")), 6),
        (write_exif((0x0112, 3, 1, b"\x06\0\0\0"), (0x0128, 2, 4, b"inch")), 6),
        (write_exif((0x0112, 3, 1, b"\0\0\0\0")), 1),
        (write_exif((0x0112, 3, 1, b"\x09\0\0\0")), 1),
        (write_exif((0x0112, 2, 2, b"6\0\0\0")), 1),
        (b"Exif\0\0no header", 1),
    ],
)
def test_invalid_exif_is_ignored(kind: str, exif: bytes, orientation: int) -> None:
    assert read_corners(decode(encode(draw_corners(), kind, exif=exif))) == TURNED[orientation]


def palette_with_alpha() -> Image.Image:
    image = halves((0, 0), (1, 255), "PA")
    image.putpalette([9, 9, 9, 0, 0, 255])
    return image


CLEAR_AND_BLUE = halves((9, 9, 9, 0), (0, 0, 255, 255), "RGBA")
GREY_AND_BLUE = halves((9, 9, 9), (0, 0, 255), "RGB")


@pytest.mark.parametrize(
    ("image", "kind", "options", "expected"),
    [
        (CLEAR_AND_BLUE, "PNG", {}, (WHITE, BLUE)),
        (CLEAR_AND_BLUE, "TIFF", {}, (WHITE, BLUE)),
        (CLEAR_AND_BLUE, "GIF", {}, (WHITE, BLUE)),
        (CLEAR_AND_BLUE, "WEBP", {"lossless": True}, (WHITE, BLUE)),
        (CLEAR_AND_BLUE, "AVIF", {"quality": 100, "subsampling": "4:4:4"}, (WHITE, BLUE)),
        (halves((255, 0, 0, 128), (0, 0, 0, 255), "RGBA"), "PNG", {}, ((255, 127, 127), (0, 0, 0))),
        (halves((9, 0), (29, 255), "LA"), "PNG", {}, (WHITE, (29, 29, 29))),
        (halves(7, 29, "L"), "PNG", {"transparency": 7}, (WHITE, (29, 29, 29))),
        (halves(0, 255, "L").convert("1", dither=Image.Dither.NONE), "PNG", {"transparency": 0}, (WHITE, WHITE)),
        (GREY_AND_BLUE, "PNG", {"transparency": (9, 9, 9)}, (WHITE, BLUE)),
        (GREY_AND_BLUE.quantize(2), "PNG", {"transparency": 1}, (WHITE, BLUE)),
        (GREY_AND_BLUE.quantize(2), "PNG", {"transparency": bytes([255, 0])}, (WHITE, BLUE)),
        (palette_with_alpha(), "TIFF", {}, (WHITE, BLUE)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_transparent_pixels_are_laid_on_white(
    image: Image.Image, kind: str, options: dict[str, Any], expected: tuple[Colour, Colour]
) -> None:
    np.testing.assert_allclose(read_halves(encode(image, kind, **options)), expected, atol=2 * (kind == "AVIF"))


def test_an_avif_with_the_brand_of_its_container_is_decoded() -> None:
    photo = bytearray(encode(draw_corners(), "AVIF"))
    photo[8:12] = b"mif1"

    assert read_corners(decode(bytes(photo))) == UPRIGHT


@pytest.mark.parametrize(
    ("image", "kind", "tolerance", "expected"),
    [
        (halves(0, 1, "1"), "PNG", 0, ((0, 0, 0), WHITE)),
        (halves(0, 1, "1"), "TIFF", 0, ((0, 0, 0), WHITE)),
        (halves(50, 200, "L"), "PNG", 0, ((50, 50, 50), (200, 200, 200))),
        (halves(RED, BLUE, "RGB").quantize(2), "GIF", 0, (RED, BLUE)),
        (halves(RED, BLUE, "RGB").quantize(2), "BMP", 0, (RED, BLUE)),
        (halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "TIFF", 0, (RED, BLUE)),
        (halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG", 8, (RED, BLUE)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
def test_other_colour_modes_become_rgb(
    image: Image.Image, kind: str, tolerance: int, expected: tuple[Colour, Colour]
) -> None:
    options = {"quality": 100} if kind == "JPEG" else {}

    np.testing.assert_allclose(read_halves(encode(image, kind, **options)), expected, atol=tolerance)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        (np.uint16, (0, 128 * 257), (0, 128)),
        (np.int32, (0, 32896), (0, 128)),
        (np.int32, (0, 65535), (0, 255)),
        (np.int32, (-5, 65535), (0, 255)),
        (np.int32, (0, 2**31 - 1), (0, 255)),
        (np.float32, (0.0, 0.5), (0, 128)),
        (np.float32, (0.0, 200.0), (0, 200)),
        (np.float32, (NAN, 0.5), (0, 128)),
        (np.float32, (INFINITY, 0.5), (0, 128)),
        (np.float32, (-1.0, 300.0), (0, 255)),
        (np.float32, (NAN, NAN), (0, 0)),
    ],
)
def test_deep_grey_is_scaled_by_16_bits_or_its_peak_and_floats_by_1_or_255(
    dtype: type[np.generic], values: tuple[float, float], expected: tuple[int, int]
) -> None:
    rows = np.tile(np.array(values, dtype=dtype).repeat(10), (20, 1))

    left, right = read_halves(encode(Image.fromarray(rows), "TIFF"))

    assert (left, right) == ((expected[0],) * 3, (expected[1],) * 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [draw_corners(), draw_corners().rotate(180)]

    image = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:]))

    assert read_corners(image) == UPRIGHT


@pytest.mark.parametrize(("short_side", "expected"), [(1000, 1000), (500, 500), (499, 500), (255, 333), (125, 250)])
def test_a_large_jpeg_is_reduced_to_at_least_the_short_side(short_side: int, expected: int) -> None:
    image = decode(encode(draw_waves(1200, 1000), "JPEG"), short_side)

    assert min(image.size) >= short_side
    assert min(image.size) <= 2 * max(short_side, expected)


def test_scaling_16_bits_takes_less_memory_than_one_float_copy() -> None:
    photo = encode(Image.fromarray(np.full((2000, 3000), 128 * 257, dtype=np.uint16)))

    tracemalloc.start()
    image = decode(photo)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert image.getpixel((0, 0)) == (128, 128, 128)
    assert peak_bytes < 2000 * 3000 * np.dtype(np.float32).itemsize


def test_heic_is_decoded_without_its_reader_registered_before(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encode(draw_corners(), "HEIF")
    monkeypatch.delitem(Image.OPEN, "HEIF")

    assert read_corners(decode(photo)) == UPRIGHT
