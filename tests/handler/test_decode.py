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
    return decode_photo(photo, LIMITS, short_side)


def halves(left: object, right: object, mode: str) -> Image.Image:
    """Return 20x20 pixels, the left half of one colour, the right half of another."""
    image = Image.new(mode, (20, 20), left)  # type: ignore[arg-type]  # a colour of that mode
    image.paste(right, (10, 0, 20, 20))  # type: ignore[arg-type]
    return image


def read_halves(photo: bytes) -> tuple[object, object]:
    image = decode(photo)
    assert (image.mode, image.size) == ("RGB", (20, 20))
    return image.getpixel((0, 10)), image.getpixel((19, 10))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded_to_rgb(kind: str) -> None:
    image = decode(encode(draw_corners(), kind))

    assert (image.mode, image.size) == ("RGB", (96, 64))
    assert read_corners(image) == UPRIGHT


def test_a_bytearray_as_torchserve_hands_it_over_is_decoded() -> None:
    assert read_corners(decode_photo(bytearray(encode(draw_corners())), LIMITS, 64)) == UPRIGHT


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_rotated_phone_photo_is_turned_upright(kind: str, orientation: int) -> None:
    image = decode(encode_rotated(draw_corners(), kind, orientation))

    assert read_corners(image) == TURNED[orientation]
    assert image.size == ((96, 64) if orientation <= 4 else (64, 96))


def test_a_rotated_photo_without_colour_is_turned_upright() -> None:
    grey = halves(0, 255, "L").crop((0, 0, 20, 16))

    image = decode(encode_rotated(grey, "PNG", 6))

    assert image.size == (16, 20)
    assert (image.getpixel((8, 0)), image.getpixel((8, 19))) == ((0, 0, 0), WHITE)


def write_exif(*tags: tuple[int, int, int, bytes]) -> bytes:
    """Return EXIF of *tags*: number, type (2 text, 3 short, 9 signed long), count and four bytes of value."""
    entries = b"".join(struct.pack("<HHL4s", *tag) for tag in sorted(tags))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "odd",
    [(0x0100, 2, 4, b"wide"), (0x0100, 9, 1, b"\xff\xff\xff\xff"), (0x0128, 2, 4, b"inch")],
    ids=["ImageWidth as text", "negative ImageWidth", "ResolutionUnit as text"],
)
def test_a_photo_with_other_invalid_exif_is_turned(kind: str, odd: tuple[int, int, int, bytes]) -> None:
    exif = write_exif((0x0112, 3, 1, b"\x06\0\0\0"), odd)

    assert read_corners(decode(encode(draw_corners(), kind, exif=exif))) == TURNED[6]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif",
    [
        write_exif((0x0112, 3, 1, b"\0\0\0\0")),
        write_exif((0x0112, 3, 1, b"\x09\0\0\0")),
        write_exif((0x0112, 2, 2, b"6\0\0\0")),
        b"Exif\0\0no header",
    ],
    ids=["0", "9", "text", "unreadable"],
)
def test_an_invalid_orientation_is_ignored(kind: str, exif: bytes) -> None:
    image = decode(encode(draw_corners(), kind, exif=exif))

    assert (image.size, read_corners(image)) == ((96, 64), UPRIGHT)


def test_an_upright_photo_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encode_rotated(draw_corners(), "JPEG", 1)

    with monkeypatch.context() as without_copy:
        without_copy.delattr(Image.Image, "copy")
        image = decode(photo)

    assert read_corners(image) == UPRIGHT


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (halves((9, 9, 9, 0), (0, 0, 255, 255), "RGBA"), {}),
        (halves((9, 0), (29, 255), "LA"), {}),
        (halves(7, 29, "L"), {"transparency": 7}),
        (halves((9, 9, 9), (0, 0, 255), "RGB"), {"transparency": (9, 9, 9)}),
        (halves((9, 9, 9), (0, 0, 255), "RGB").quantize(2), {"transparency": 1}),
        (halves((9, 9, 9), (0, 0, 255), "RGB").quantize(2), {"transparency": bytes([255, 0])}),
    ],
    ids=["RGBA", "LA", "L with a colour key", "RGB with a colour key", "palette index", "palette alphas"],
)
def test_transparent_pixels_of_a_png_are_white(image: Image.Image, options: dict[str, Any]) -> None:
    left, right = read_halves(encode(image, "PNG", **options))

    assert left == WHITE
    assert right in {(0, 0, 255), (29, 29, 29)}


@pytest.mark.parametrize(
    ("kind", "options"),
    [("WEBP", {"lossless": True}), ("TIFF", {}), ("GIF", {}), ("AVIF", {"quality": 100, "subsampling": "4:4:4"})],
)
def test_transparent_pixels_of_other_formats_are_white(kind: str, options: dict[str, Any]) -> None:
    left, right = read_halves(encode(halves((9, 9, 9, 0), (0, 0, 255, 255), "RGBA"), kind, **options))

    assert left == WHITE
    np.testing.assert_allclose(np.array(right), (0, 0, 255), atol=2)


def test_a_black_and_white_png_with_a_colour_key_is_laid_on_white() -> None:
    both = halves(0, 255, "L").convert("1", dither=Image.Dither.NONE)

    assert read_halves(encode(both, "PNG", transparency=0)) == (WHITE, WHITE)


def test_an_avif_with_the_brand_of_its_container_is_decoded() -> None:
    photo = bytearray(encode(draw_corners(), "AVIF"))
    photo[8:12] = b"mif1"

    assert read_corners(decode(bytes(photo))) == UPRIGHT


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    left, _ = read_halves(encode(halves((255, 0, 0, 128), (0, 0, 0, 255), "RGBA")))

    assert left == (255, 127, 127)


def test_a_palette_with_alpha_is_laid_on_white() -> None:
    image = halves((0, 0), (1, 255), "PA")
    image.putpalette([9, 9, 9, 0, 0, 255])

    assert read_halves(encode(image, "TIFF")) == (WHITE, BLUE)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (halves(0, 1, "1"), "PNG", ((0, 0, 0), WHITE)),
        (halves(0, 1, "1"), "TIFF", ((0, 0, 0), WHITE)),
        (halves(50, 200, "L"), "PNG", ((50, 50, 50), (200, 200, 200))),
        (halves(RED, BLUE, "RGB").quantize(2), "GIF", (RED, BLUE)),
        (halves(RED, BLUE, "RGB").quantize(2), "BMP", (RED, BLUE)),
        (halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "TIFF", (RED, BLUE)),
    ],
    ids=["1 bit PNG", "1 bit TIFF", "grey", "palette GIF", "palette BMP", "CMYK"],
)
def test_other_colour_modes_become_rgb(image: Image.Image, kind: str, expected: object) -> None:
    assert read_halves(encode(image, kind)) == expected


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    left, right = read_halves(encode(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG", quality=100))

    np.testing.assert_allclose([np.array(left), np.array(right)], [RED, BLUE], atol=8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8(kind: str) -> None:
    values = np.tile(np.array([0, 128 * 257], dtype=np.uint16).repeat(10), (20, 1))

    assert read_halves(encode(Image.fromarray(values), kind)) == ((0, 0, 0), (128, 128, 128))


@pytest.mark.parametrize(
    ("values", "expected"), [((0, 32896), 128), ((0, 65535), 255), ((-5, 65535), 255), ((0, 2**31 - 1), 255)]
)
def test_32_bit_integers_are_scaled_by_16_bits_or_by_their_peak(values: tuple[int, int], expected: int) -> None:
    rows = np.tile(np.array(values, dtype=np.int32).repeat(10), (20, 1))

    assert read_halves(encode(Image.fromarray(rows), "TIFF")) == ((0, 0, 0), (expected,) * 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.0, 0.5), (0, 128)),
        ((0.0, 128.0), (0, 128)),
        ((float("nan"), 0.5), (0, 128)),
        ((float("inf"), 0.5), (0, 128)),
        ((-1.0, 300.0), (0, 255)),
        ((float("nan"), float("nan")), (0, 0)),
    ],
)
def test_floats_are_scaled_by_1_or_255(values: tuple[float, float], expected: tuple[int, int]) -> None:
    rows = np.tile(np.array(values, dtype=np.float32).repeat(10), (20, 1))

    left, right = read_halves(encode(Image.fromarray(rows), "TIFF"))

    assert (left, right) == ((expected[0],) * 3, (expected[1],) * 3)


@pytest.mark.parametrize(
    ("dtype", "peak"), [(np.uint16, 65535), (np.int32, 2**31 - 1), (np.float32, 1)], ids=["16 bit", "32 bit", "float"]
)
def test_deep_grey_is_scaled_by_the_peak_of_the_whole_photo(dtype: type[np.generic], peak: int) -> None:
    rows_HW = np.linspace(0, peak, 600 * 500).astype(dtype).reshape(600, 500)

    image = decode(encode(Image.fromarray(rows_HW), "TIFF"), short_side=500)

    expected_HW = np.rint(rows_HW.astype(np.float32) * (255 / peak))
    np.testing.assert_array_equal(np.asarray(image)[..., 0], expected_HW)


def test_scaling_16_bits_takes_less_memory_than_one_float_copy() -> None:
    photo = encode(Image.fromarray(np.full((2000, 3000), 128 * 257, dtype=np.uint16)))

    tracemalloc.start()
    image = decode(photo)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert image.getpixel((0, 0)) == (128, 128, 128)
    assert peak_bytes < 2000 * 3000 * np.dtype(np.float32).itemsize


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [draw_corners(), draw_corners().rotate(180)]

    image = decode(encode(frames[0], kind, save_all=True, append_images=frames[1:]))

    assert read_corners(image) == UPRIGHT


@pytest.mark.parametrize("size", [(16, 4000), (4000, 16)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_photo_of_extreme_shape_keeps_its_size(size: tuple[int, int], kind: str) -> None:
    image = decode(encode(draw_corners(*size), kind))

    assert image.size == size
    assert read_corners(image) == UPRIGHT


@pytest.mark.parametrize(("short_side", "expected"), [(1000, 1000), (500, 500), (499, 500), (255, 333), (125, 250)])
def test_a_large_jpeg_is_reduced_to_at_least_the_short_side(short_side: int, expected: int) -> None:
    image = decode(encode(draw_waves(1200, 1000), "JPEG"), short_side)

    assert min(image.size) >= short_side
    assert min(image.size) <= 2 * max(short_side, expected)


def test_a_large_png_is_reduced_to_at_least_twice_the_short_side() -> None:
    image = decode(encode(draw_corners(1200, 800)), short_side=100)

    assert image.size == (300, 200)
    assert read_corners(image) == UPRIGHT
