import io
import zipfile

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from handler.decode import decode_photo
from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge, UnusablePhoto
from handler.settings import Limits
from tests.pictures import FORMATS, draw_corners, draw_waves, encode, make_png_bomb, mutate

OUTCOMES = {"RGB", 400, 413, 415, 422}


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
        (b"just some text", NotAPhoto, "these 14 bytes are no image that fruity reads; it reads JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAPhoto, "no image that fruity reads"),
        (b"\0\0\0\x18ftypheic" + bytes(40), NotAPhoto, "no image that fruity reads"),
        (encode(Image.new("RGB", (1, 1))), UnusablePhoto, "1x1 pixels, each side must have at least 16"),
        (encode(Image.new("RGB", (400, 15))), UnusablePhoto, "400x15 pixels, each side must have at least 16"),
    ],
    ids=["empty", "text", "SVG", "HEIC without content", "1x1", "a side too short"],
)
def test_what_is_no_usable_photo_is_refused_with_its_reason(photo: bytes, problem: type[Problem], detail: str) -> None:
    with pytest.raises(problem) as refusal:
        decode(photo)

    assert detail in str(refusal.value)


def test_a_zip_that_calls_itself_jpg_is_no_photo() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo.jpg", encode(draw_corners(), "JPEG"))

    with pytest.raises(NotAPhoto, match="no image that fruity reads"):
        decode(file.getvalue())


@pytest.mark.parametrize("kind", ["PPM", "ICO", "JPEG2000", "TGA", "PDF", "EPS"])
def test_formats_that_are_not_listed_are_refused_though_pillow_knows_them(kind: str) -> None:
    with pytest.raises(NotAPhoto):
        decode(encode(draw_corners(), kind))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "HEIF"])
def test_a_photo_that_is_cut_short_is_unusable(kind: str) -> None:
    photo = encode(draw_waves(200, 150), kind)

    with pytest.raises((UnusablePhoto, NotAPhoto)):
        decode(photo[: len(photo) // 2])


def test_a_png_bomb_is_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", fail)

    with pytest.raises(TooLarge, match="too many pixels"):
        decode(make_png_bomb(30_000))


def test_pixels_above_the_limit_are_refused_without_decoding() -> None:
    with pytest.raises(TooLarge, match=r"the image has 8000x8000 pixels, the limit is 50,000,000 in all"):
        decode(make_png_bomb(8_000))


def test_bytes_above_the_limit_are_refused_unread() -> None:
    with pytest.raises(TooLarge, match=r"the photo is 101 bytes, the limit is 100; send a smaller JPEG"):
        decode_photo(bytes(101), Limits(max_photo_bytes=100), 64)


def test_exactly_the_limits_are_allowed() -> None:
    photo = encode(draw_corners(32, 16))
    limits = Limits(max_photo_bytes=len(photo), max_photo_pixels=32 * 16, min_photo_side=16)

    assert decode_photo(photo, limits, 64).size == (32, 16)


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
