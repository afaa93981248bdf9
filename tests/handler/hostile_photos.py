"""Small files that would keep a decoder busy for long."""

import struct
import zlib

from PIL import Image

from tests.pictures import draw_corners, encode


def png_of_empty_chunks(number: int, *, after_the_pixels: bool = False) -> bytes:
    photo = encode(draw_corners())
    place = photo.index(b"IEND") - 4 if after_the_pixels else photo.index(b"IDAT") - 4
    return photo[:place] + number * (bytes(4) + b"teXt" + struct.pack(">I", zlib.crc32(b"teXt"))) + photo[place:]


def png_of_two_headers(first_side: int, second_side: int) -> bytes:
    small, large = (encode(draw_corners(side, side)) for side in (first_side, second_side))
    return small[:33] + large[8:]


def gif_of_comments(number: int) -> bytes:
    photo = encode(draw_corners().convert("P"), "GIF")
    place = photo.index(b",", 13)
    return photo[:place] + number * b"!\xfe\x01a\0" + photo[place:]


def jpeg_of_padding(number: int) -> bytes:
    photo = encode(draw_corners(), "JPEG")
    return photo[:2] + number * b"\xff" + photo[2:]


def tiff_of_strips(number: int, side: int = 64, compression: int = 1) -> bytes:
    """Return a TIFF of one row a strip that lists *number* strips."""
    entries = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    entries += [(273, 4, number, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, number, 200)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (b"II*\0\x08\0\0\0" + directory).ljust(200, b"\0") + number * struct.pack("<I", 8)


def heic_that_promises(width: int, height: int, photo: Image.Image) -> bytes:
    """Return *photo* as HEIC, whose header has another size."""
    sizes = struct.pack(">II", *photo.size)
    return encode(photo, "HEIF").replace(b"ispe\0\0\0\0" + sizes, b"ispe\0\0\0\0" + struct.pack(">II", width, height))
