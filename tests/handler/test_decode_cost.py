import contextlib
import struct
import time

import pytest
from PIL import Image

from handler.decode import decode_photo
from handler.decode_cost import check_cost
from handler.problem import NotAPhoto, TooLarge, UnusablePhoto
from handler.settings import Limits
from tests.handler.hostile_photos import (
    gif_of_comments,
    heic_that_promises,
    jpeg_of_padding,
    png_of_empty_chunks,
    png_of_two_headers,
    tiff_of_strips,
)
from tests.pictures import FORMATS, draw_corners, draw_waves, encode

FLAT = Image.new("RGB", (4000, 3000), "red")


def seconds_of(photo: bytes) -> float:
    return check_cost(photo, Limits()).seconds


@pytest.mark.parametrize(
    "photo",
    [
        png_of_empty_chunks(40_000),
        png_of_empty_chunks(40_000, after_the_pixels=True),
        gif_of_comments(40_000),
        jpeg_of_padding(40_000),
    ],
    ids=["PNG", "PNG, after the pixels", "GIF", "JPEG"],
)
def test_a_photo_of_tens_of_thousands_of_empty_parts_is_refused(photo: bytes) -> None:
    with pytest.raises(UnusablePhoto, match="too many chunks or blocks"):
        decode_photo(photo, Limits(), 64)


@pytest.mark.parametrize("photo", [png_of_empty_chunks(500), gif_of_comments(500), jpeg_of_padding(500)])
def test_a_photo_of_hundreds_of_them_is_decoded(photo: bytes) -> None:
    assert decode_photo(photo, Limits(), 64).size == (96, 64)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "TIFF"])
def test_decoders_that_cannot_be_interrupted_are_isolated(kind: str) -> None:
    assert check_cost(encode(draw_corners(), kind), Limits()).isolated


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "MPO"])
def test_the_other_formats_are_decoded_in_the_worker(kind: str) -> None:
    assert not check_cost(encode(draw_corners(), kind), Limits()).isolated


def test_run_lengths_of_bmp_are_isolated_and_dear() -> None:
    raw = encode(draw_waves(96, 64).convert("P"), "BMP")
    runs = raw[:30] + struct.pack("<I", 1) + raw[34:]

    assert check_cost(runs, Limits()).isolated
    assert seconds_of(runs) > 5 * seconds_of(raw)


def test_formats_differ_in_what_a_pixel_costs() -> None:
    jpeg, webp, heic = (seconds_of(encode(FLAT, kind)) for kind in ("JPEG", "WEBP", "HEIF"))

    assert jpeg < webp / 2
    assert jpeg < heic / 2


def test_a_progressive_jpeg_costs_more_with_each_scan() -> None:
    progressive = encode(FLAT, "JPEG", progressive=True)
    end = progressive.index(b"\xff\xd9")
    more_scans = progressive[:end] + 80 * b"\xff\xda\0\x08\x01\x01\0\x01\x1f\0" + progressive[end:]

    assert seconds_of(encode(FLAT, "JPEG")) < seconds_of(progressive) < seconds_of(more_scans)


def test_png_costs_by_its_bytes_a_pixel_and_tiff_by_its_compression() -> None:
    size = (64, 64)
    palette, rgb, rgba = (seconds_of(encode(Image.new(mode, size))) for mode in ("P", "RGB", "RGBA"))
    deflate, lzma = (seconds_of(tiff_of_strips(10, 512, compression=number)) for number in (8, 34925))

    assert palette < rgb < rgba
    assert lzma > 2 * deflate


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in ("JPEG", "MPO", "GIF", "BMP")])
def test_a_dear_photo_within_the_pixels_is_refused_with_the_cost_and_the_way_out(kind: str) -> None:
    photo = encode(draw_waves(200, 150), kind)
    seconds = seconds_of(photo)

    with pytest.raises(TooLarge, match=r"30,000 pixels .* s of CPU time, the limit is .*; scale it down") as refusal:
        check_cost(photo, Limits(max_photo_seconds=seconds * 0.99))

    assert refusal.value.status == 413
    assert check_cost(photo, Limits(max_photo_seconds=seconds)).pixels == 30_000


@pytest.mark.parametrize(
    "photo",
    [heic_that_promises(32, 32, draw_waves(200, 150)), png_of_two_headers(32, 200)],
    ids=["HEIC", "PNG"],
)
def test_a_photo_larger_than_its_header_promises_is_refused(photo: bytes) -> None:
    assert check_cost(photo, Limits()).pixels == 32 * 32
    with pytest.raises(UnusablePhoto):
        decode_photo(photo, Limits(), 64)


def test_a_photo_whose_header_has_no_size_may_have_as_many_pixels_as_are_allowed() -> None:
    heic = encode(draw_waves(200, 150), "HEIF").replace(b"ispe", b"free")

    assert check_cost(heic, Limits()).pixels == Limits().max_photo_pixels


def test_a_heic_costs_by_its_largest_part_and_not_by_the_longest() -> None:
    long_part = b"ispe" + struct.pack(">III", 0, 640, 4)

    assert check_cost(encode(draw_waves(200, 150), "HEIF") + long_part, Limits()).pixels == 200 * 150


@pytest.mark.parametrize("cut", range(2, 60, 3))
@pytest.mark.parametrize("kind", FORMATS)
def test_a_header_cut_anywhere_is_read_or_refused(kind: str, cut: int) -> None:
    photo = encode(draw_corners(), kind)[:cut]

    with contextlib.suppress(NotAPhoto, TooLarge):
        assert 0 <= check_cost(photo, Limits()).seconds <= Limits().max_photo_seconds


def test_a_tiff_directory_of_any_length_is_read_at_once() -> None:
    photo = b"II*\0\x08\0\0\0\xff\xff" + 65_535 * struct.pack("<HHII", 700, 3, 1, 1)
    started = time.process_time()

    cost = check_cost(photo, Limits())

    assert cost.pixels == Limits().max_photo_pixels
    assert time.process_time() - started < 1.0


def test_a_tiff_that_does_not_say_its_channels_has_one() -> None:
    # Pillow does not write them for grey, but how its planes lie, whose tag becomes the one of a single channel.
    unsaid = encode(Image.new("L", (64, 64)), "TIFF")
    planes, channels = (struct.pack("<HHII", tag, 3, 1, 1) for tag in (284, 277))

    assert planes in unsaid
    assert seconds_of(unsaid) == seconds_of(unsaid.replace(planes, channels))


def test_a_tiff_of_many_strips_costs_by_its_bytes() -> None:
    assert seconds_of(tiff_of_strips(100_000)) > 10 * seconds_of(tiff_of_strips(1_000))
