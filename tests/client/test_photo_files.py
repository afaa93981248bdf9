"""Which photos are sent, and how they are scaled."""

import io
from pathlib import Path

import pytest
from fruity.failures import PhotoRefused
from fruity.photo_files import NoPhotos, find_photos, read_photo, shrink_photo
from PIL import Image

from tests.pictures import BLUE, GREEN, RED, YELLOW, draw_corners, draw_waves, encode, read_corners


def open_photo(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_files_folders_and_patterns_name_each_photo_once(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "deep/c.heic", "deep/notes.txt", "d.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    photos = find_photos([str(tmp_path / "d.pdf"), str(tmp_path), str(tmp_path / "**" / "*.heic")])

    assert [path.name for path in photos] == ["d.pdf", "a.PNG", "b.jpg", "c.heic"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tmp_path: Path) -> None:
    (tmp_path / "lunch [1].jpg").touch()

    assert find_photos([str(tmp_path / "lunch [1].jpg")]) == [tmp_path / "lunch [1].jpg"]


@pytest.mark.parametrize("argument", ["missing.jpg", "*.heic", "empty"])
def test_an_argument_without_a_photo_is_named(argument: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()

    with pytest.raises(NoPhotos) as caught:
        find_photos([str(tmp_path / argument)])

    assert argument in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "HEIF", "MPO"])
def test_a_large_photo_is_sent_with_a_short_side_of_640_pixels(kind: str) -> None:
    sent = open_photo(shrink_photo(encode(draw_corners(2000, 1500), kind), 640))

    assert (sent.format, sent.size) == ("JPEG", (853, 640))
    assert read_corners(sent) == [RED, GREEN, BLUE, YELLOW]


def test_a_rotated_photo_is_sent_upright_and_without_its_metadata() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"  # turned by 90 degrees

    sent = open_photo(shrink_photo(encode(draw_corners(2000, 1500), "JPEG", exif=exif), 640))

    assert sent.size == (640, 853)
    assert read_corners(sent) == [BLUE, RED, YELLOW, GREEN]
    assert dict(sent.getexif()) == {}


def test_the_colour_profile_is_sent() -> None:
    profile = b"a profile of a phone"

    sent = open_photo(shrink_photo(encode(draw_waves(2000, 1500), "JPEG", icc_profile=profile), 640))

    assert sent.info["icc_profile"] == profile


@pytest.mark.parametrize(
    "content",
    [
        encode(draw_waves(800, 600), "JPEG"),
        encode(draw_waves(900, 900).convert("RGBA"), "PNG"),
        encode(draw_waves(900, 900).convert("CMYK"), "JPEG"),
        encode(draw_waves(2000, 1500), "JPEG")[:5000],
        b"%PDF-1.7",
        b"",
    ],
    ids=["small", "transparent", "CMYK", "cut off", "PDF", "empty"],
)
def test_other_files_are_sent_as_they_are(content: bytes) -> None:
    assert shrink_photo(content, 640) == content


def test_a_photo_of_too_many_pixels_is_left_to_the_server() -> None:
    bomb = encode(Image.new("L", (20_000, 20_000)), "PNG")

    assert shrink_photo(bomb, 640) == bomb


def test_a_file_is_sent_as_it_is_or_scaled(tmp_path: Path) -> None:
    content = encode(draw_waves(2000, 1500), "JPEG")
    (tmp_path / "a.jpg").write_bytes(content)

    assert read_photo(tmp_path / "a.jpg", None) == content
    assert len(read_photo(tmp_path / "a.jpg", 640)) < len(content)


def test_a_file_that_cannot_be_read_is_refused_without_a_status(tmp_path: Path) -> None:
    with pytest.raises(PhotoRefused) as caught:
        read_photo(tmp_path, 640)

    assert caught.value.status == 0
