"""Generated pictures, in every format."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "HEIF", "MPO")

RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


def draw_corners(width: int = 96, height: int = 64) -> Image.Image:
    """Return red and green above blue and yellow, a quarter each."""
    corners = np.array([[RED, GREEN], [BLUE, YELLOW]], dtype=np.uint8)
    return Image.fromarray(corners.repeat(height // 2, axis=0).repeat(width // 2, axis=1))


def read_corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Return the colours in the middle of the four quarters, row by row, each channel rounded to 0 or 255."""
    width, height = image.size
    places = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return [tuple(255 * (value > 127) for value in _rgb(image, place)) for place in places]


def draw_waves(width: int, height: int) -> Image.Image:
    """Return a smooth, colourful picture, which lossy formats keep well."""
    y_HW, x_HW = np.mgrid[:height, :width] / min(width, height)
    waves_HWC = np.stack([np.sin(5 * x_HW + 3 * y_HW), np.cos(4 * y_HW - x_HW), np.sin(6 * x_HW * y_HW)], axis=-1)
    return Image.fromarray((127.5 + 127 * waves_HWC).astype(np.uint8))


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return *image* as a file of the Pillow format *kind*."""
    pillow_heif.register_heif_opener()
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def encode_rotated(image: Image.Image, kind: str, orientation: int, **options: Any) -> bytes:
    """Return *image* with an EXIF orientation of 1 to 8; HEIC stores it in its own boxes."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif.tobytes(), **options)


def make_png_bomb(side: int) -> bytes:
    """Return a PNG whose header claims *side* x *side* pixels; its data has almost none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(name, content) for name, content in chunks)


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _rgb(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    pixel = image.convert("RGB").getpixel(place)
    assert isinstance(pixel, tuple)
    return pixel
