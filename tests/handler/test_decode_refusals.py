import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from benchmarks.hostile_requests import mutate
from handler.decode import decode_photo
from handler.decode_cost import check_cost
from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto
from handler.settings import Limits
from tests.pictures import FORMATS, draw_corners, draw_waves, encode, make_png_bomb

OUTCOMES = {"RGB", 400, 413, 415, 422}

PROGRESSIVE = encode(draw_corners(), "JPEG", progressive=True)
SEQUENTIAL = encode(draw_corners(), "JPEG", subsampling="4:4:4")
# Scans of the first component: of the lower half of its frequencies, and of all.
PROGRESSIVE_SCAN = b"\xff\xda\0\x08\x01\x01\0\x01\x1f\0"
SEQUENTIAL_SCAN = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
TOO_MANY_SCANS = r"100 scans or 1,000 segments"


def decode(photo: bytes) -> Image.Image:
    return decode_photo(photo, Limits(), 64)


def outcome_of(photo: bytes) -> str | int:
    """Return the mode of the image or the status of the problem."""
    try:
        return decode(photo).mode
    except Problem as problem:
        return problem.status


@pytest.mark.parametrize(
    ("photo", "problem", "detail"),
    [
        (b"", MalformedRequest, "the photo is empty (0 bytes)"),
        (b"just some text", NotAPhoto, "these 14 bytes"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAPhoto, "not an image that fruity reads"),
        (b"\0\0\0\x18ftypheic" + bytes(40), UnusablePhoto, "broken or cut short"),
        (encode(draw_corners(), "GIF")[:12], UnusablePhoto, "has no whole header"),
        (encode(draw_corners(), "TIFF")[:8], UnusablePhoto, "has no whole header"),
        (encode(Image.new("RGB", (1, 1))), UnusablePhoto, "1x1 pixels, each side must have at least 16"),
        (encode(Image.new("RGB", (400, 15))), UnusablePhoto, "400x15 pixels, each side must have at least 16"),
        (bytes(16 * 2**20 + 1), TooLarge, "16,777,217 bytes, the limit is 16,777,216;"),
        (make_png_bomb(8_000), TooLarge, "8000x8000 pixels, the limit is 50,000,000"),
    ],
    ids=[
        "empty",
        "text",
        "SVG",
        "HEIC without content",
        "start of a GIF",
        "start of a TIFF",
        "1x1",
        "a side too short",
        "bytes",
        "pixels",
    ],
)
def test_an_unusable_photo_is_refused_with_the_reason(photo: bytes, problem: type[Problem], detail: str) -> None:
    with pytest.raises(problem) as refusal:
        decode(photo)

    assert detail in str(refusal.value)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "JPEG2000", "TGA", "PDF", "EPS"])
def test_other_formats_of_pillow_are_refused(kind: str) -> None:
    with pytest.raises(NotAPhoto):
        decode(encode(draw_corners(), kind))


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "HEIF"])
def test_a_photo_that_is_cut_short_is_unusable(kind: str, share: float) -> None:
    photo = encode(draw_waves(200, 150), kind)

    with pytest.raises(UnusablePhoto, match=r"^[^\n]+$"):
        decode(photo[: int(len(photo) * share)])


def test_a_png_bomb_is_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", fail)

    with pytest.raises(TooLarge, match="too many pixels"):
        decode(make_png_bomb(30_000))


def test_exactly_the_limits_are_allowed() -> None:
    photo = encode(draw_corners(32, 16))
    limits = Limits(max_photo_bytes=len(photo), max_photo_pixels=32 * 16, min_photo_side=16)

    assert decode_photo(photo, limits, 64).size == (32, 16)


def add_scans(number: int, kind: str = "JPEG", **options: Any) -> bytes:
    """Return a progressive JPEG with *number* needless scans."""
    photo = encode(draw_corners(), kind, progressive=True, **options)
    end = photo.index(b"\xff\xd9")
    return photo[:end] + number * PROGRESSIVE_SCAN + photo[end:]


def only_scans(number: int) -> bytes:
    """Return a sequential JPEG whose scans have one component each."""
    return SEQUENTIAL[: SEQUENTIAL.index(b"\xff\xda")] + number * SEQUENTIAL_SCAN + b"\xff\xd9"


@pytest.mark.parametrize(
    "photo",
    [
        add_scans(100),
        add_scans(100, "MPO", save_all=True, append_images=[draw_corners()]),
        only_scans(101),
        # A height whose bytes are the marker of the end.
        re.sub(rb"(?s)(?<=\xff\xc0...)..", b"\xff\xd9", only_scans(101)),
        SEQUENTIAL[:2] + 1000 * b"\xff\xe0\0\x02" + SEQUENTIAL[2:],
    ],
    ids=["progressive", "MPO", "sequential", "height like an end", "empty segments"],
)
def test_a_jpeg_of_too_many_scans_or_segments_is_refused_unopened(
    photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Image, "open")

    with pytest.raises(UnusablePhoto, match=TOO_MANY_SCANS):
        decode(photo)


@pytest.mark.parametrize(
    "photo", [add_scans(100 - PROGRESSIVE.count(b"\xff\xda")), only_scans(100)], ids=["progressive", "sequential"]
)
def test_a_jpeg_of_100_scans_is_decoded(photo: bytes) -> None:
    assert decode(photo).size == (96, 64)


def test_after_the_scan_of_all_components_of_a_sequential_jpeg_scans_do_not_count() -> None:
    assert check_cost(SEQUENTIAL[:-2] + 101 * SEQUENTIAL_SCAN + b"\xff\xd9", Limits()).pixels == 96 * 64


@pytest.mark.parametrize("photo", [PROGRESSIVE, SEQUENTIAL], ids=["progressive", "sequential"])
def test_bytes_like_scans_in_a_comment_or_after_the_end_do_not_count(photo: bytes) -> None:
    lookalikes = 200 * PROGRESSIVE_SCAN
    comment = b"\xff\xfe" + (2 + len(lookalikes)).to_bytes(2) + lookalikes

    assert decode(photo[:2] + comment + photo[2:] + lookalikes).size == (96, 64)


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_are_counted_from_the_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = encode(draw_corners(), kind)
    monkeypatch.delattr(Image, "open")

    assert check_cost(photo, Limits()).pixels == 96 * 64


@pytest.mark.parametrize(
    ("photo", "problem"),
    [
        (b"", MalformedRequest),
        (b"text", NotAPhoto),
        (make_png_bomb(8_000), TooLarge),
        (make_png_bomb(30_000), TooLarge),
        (only_scans(101), UnusablePhoto),
    ],
    ids=["empty", "text", "8000x8000", "30000x30000", "too many scans"],
)
def test_a_photo_that_is_refused_by_its_header_has_no_cost(photo: bytes, problem: type[Problem]) -> None:
    with pytest.raises(problem):
        check_cost(photo, Limits())


@given(st.binary(max_size=200))
@example(b"\xff\xd8\xff")
@example(b"\x89PNG\r\n\x1a\n")
@example(b"GIF89a")
@example(b"RIFF\0\0\0\0WEBPVP8 ")
@example(b"II*\0\x08\0\0\0")
@example(b"\0\0\0\x1cftypavif")
@example(b"\0\0\0\x1cftypheic")
@example(b"BM" + bytes(60))
def test_any_bytes_give_an_image_or_a_problem(photo: bytes) -> None:
    assert outcome_of(photo) in OUTCOMES


@pytest.mark.parametrize("kind", FORMATS)
def test_mutated_photos_give_an_image_or_a_problem(kind: str) -> None:
    photo = encode(draw_waves(64, 48), kind)

    outcomes = {outcome_of(mutate(photo, np.random.default_rng(seed))) for seed in range(150)}

    assert outcomes <= OUTCOMES
    assert len(outcomes) > 1
