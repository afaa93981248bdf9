import io

import pytest
from PIL import Image

from handler.decode import Header, decode_with_header
from handler.settings import Limits
from tests.pictures import draw_corners, encode, encode_rotated

LIMITS = Limits()


@pytest.mark.parametrize(
    ("image_format", "media_type"),
    [
        ("JPEG", "image/jpeg"),
        ("PNG", "image/png"),
        ("WEBP", "image/webp"),
        ("AVIF", "image/avif"),
        ("GIF", "image/gif"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("HEIF", "image/heic"),
    ],
)
def test_the_header_says_what_was_sent(image_format: str, media_type: str) -> None:
    _, header = decode_with_header(encode(Image.new("RGB", (300, 200)), image_format), LIMITS, short_side=20)

    assert header == Header(300, 200, media_type)


def test_a_jpeg_with_a_second_picture_is_a_jpeg() -> None:
    first, second = io.BytesIO(), Image.new("RGB", (30, 20), "blue")
    Image.new("RGB", (30, 20), "red").save(first, "MPO", save_all=True, append_images=[second])

    image, header = decode_with_header(first.getvalue(), LIMITS, short_side=20)

    assert header == Header(30, 20, "image/jpeg")
    assert image.getpixel((5, 5)) == (254, 0, 0)


def test_the_header_of_a_turned_photo_has_the_size_that_was_sent() -> None:
    photo = encode_rotated(draw_corners(60, 40), "JPEG", 6)

    image, header = decode_with_header(photo, LIMITS, short_side=40)

    assert (header.width, header.height) == (60, 40)
    assert image.size == (40, 60)
