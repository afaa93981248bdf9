"""A strategy that breaks small photos of every format along their structure: segments, chunks, boxes, blocks."""

import functools
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.broken_bytes import broken_bytes
from tests.pictures import draw_waves, encode

_MAX_BYTES = 200_000
_PNG_START = 8

Split = Callable[[bytes], list[bytes]]


@functools.cache
def small_photos() -> tuple[bytes, ...]:
    """Return small photos of every format that is read, in most of the ways in which each can be written."""
    waves = draw_waves(48, 36)
    frames = {"save_all": True, "append_images": [draw_waves(48, 36).rotate(90)]}
    exif = Image.Exif()
    exif[0x0112] = 6
    jpegs: tuple[dict[str, Any], ...] = (
        {},
        {"progressive": True},
        {"subsampling": "4:4:4", "exif": exif, "comment": b"comment"},
    )
    tiffs = (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")
    return (
        *(encode(waves, "JPEG", **options) for options in jpegs),
        encode(waves.convert("CMYK"), "JPEG"),
        encode(waves, "MPO", **frames),
        *(encode(waves.convert(mode), "PNG") for mode in ("RGB", "RGBA", "L", "1", "P", "I;16")),
        *(encode(waves, "TIFF", compression=compression) for compression in tiffs),
        *(encode(waves.convert(mode), "TIFF") for mode in ("CMYK", "F", "1", "LAB")),
        *(encode(waves, "WEBP", **options) for options in ({}, {"lossless": True}, frames)),
        *(encode(waves, kind) for kind in ("AVIF", "HEIF", "GIF", "BMP")),
        *(encode(waves.convert(mode), "BMP") for mode in ("P", "1", "RGBA")),
        encode(waves.convert("P"), "GIF", **frames, comment=b"comment"),
    )


@st.composite
def broken_photos(draw: st.DrawFn) -> bytes:
    """Return a small photo whose pieces were dropped, repeated, exchanged, or broken inside."""
    photo = draw(st.sampled_from(small_photos()))
    pieces = split(photo)
    for _ in range(draw(st.integers(0, 3))):
        pieces = _rearrange(pieces, draw)
    whole = b"".join(_fix_crc(piece) for piece in pieces) if _is_png(photo) else b"".join(pieces)
    whole = whole[:_MAX_BYTES]
    return draw(broken_bytes(whole)) if draw(st.booleans()) else whole


def split(photo: bytes) -> list[bytes]:
    """Return the pieces of *photo* that its format consists of; joined they are the photo."""
    splits: tuple[tuple[bytes, int, Split], ...] = (
        (b"\xff\xd8", 0, _split_jpeg),
        (b"\x89PNG", 0, lambda photo: _split_chunks(photo, _PNG_START, ">I", 4, 4)),
        (b"RIFF", 0, lambda photo: _split_chunks(photo, 12, "<4xI", 0, 0)),
        (b"ftyp", 4, lambda photo: _split_chunks(photo, 0, ">I", 0, -8)),
    )
    for start, offset, split_format in splits:
        if photo[offset : offset + len(start)] == start:
            return split_format(photo)
    # GIF, BMP and TIFF: header and tables stand in front (a TIFF of libtiff has its directory at the end).
    return [photo[:8], *(photo[place : place + 12] for place in range(8, len(photo), 12))]


def _rearrange(pieces: Sequence[bytes], draw: st.DrawFn) -> list[bytes]:
    index, other = (draw(st.integers(0, max(0, len(pieces) - 1))) for _ in range(2))
    changed = list(pieces)
    match draw(st.integers(0, 3)):
        case 0:
            del changed[index : index + 1]
        case 1:
            changed[index:index] = changed[other : other + 1] * draw(st.integers(1, 300))
        case 2 if changed:
            changed[index], changed[other] = changed[other], changed[index]
        case _ if changed:
            changed[index] = draw(broken_bytes(changed[index]))
    return changed


def _split_jpeg(photo: bytes) -> list[bytes]:
    pieces, place = [photo[:2]], 2
    while place + 4 <= len(photo) and photo[place] == 0xFF and photo[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(photo[place + 2 : place + 4])
        pieces.append(photo[place:end])
        place = end
    return [*pieces, photo[place : place + 64], photo[place + 64 :]]


def _split_chunks(photo: bytes, start: int, size: str, before: int, after: int) -> list[bytes]:
    """Return what is before *start*, then each chunk; a chunk is its size field, *before* and *after* bytes longer."""
    pieces, place, header = [photo[:start]], start, 8
    while place + header <= len(photo):
        (length,) = struct.unpack_from(size, photo, place)
        end = place + max(header, header + length + after + (length % 2 if size[0] == "<" else 0))
        pieces.append(photo[place:end])
        place = end
    return [*pieces, photo[place:]]


def _is_png(photo: bytes) -> bool:
    return photo.startswith(b"\x89PNG")


def _fix_crc(chunk: bytes) -> bytes:
    """Return a PNG's *chunk* with the right checksum, so that a decoder reads beyond it."""
    if len(chunk) < 12 or _is_png(chunk):
        return chunk
    return chunk[:-4] + struct.pack(">I", zlib.crc32(chunk[4:-4]))
