"""What decoding a photo will cost, read from its first bytes without a decoder, and what it may cost."""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from handler.jpeg_segments import JPEG_START, read_jpeg
from handler.problem import MalformedRequest, NotAPhoto, TooLarge
from handler.settings import Limits

_READABLE = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF and HEIC"
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_AVIF_BRANDS = frozenset({b"avif", b"avis"})
# Image spatial extents (ISO/IEC 23008-12, 6.5.3): version and flags, width, height.
_ISPE = re.compile(rb"ispe\x00{4}(.{4})(.{4})", re.DOTALL)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_COMPRESSION, _TIFF_CHANNELS = 256, 257, 258, 259, 277
_TIFF_LZMA = 34925
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class Rate(NamedTuple):
    """CPU time of a slow core, in ms."""

    megapixel: float
    megabyte: float
    """Of the photo as it was sent."""


# Three times what one core of a Xeon (Sapphire Rapids) takes, which is what two shared cores of an older EPYC took.
# docs/limits.md has the measurements.
_JPEG, _PROGRESSIVE_JPEG, _PROGRESSIVE_SCAN = Rate(6, 20), Rate(12, 75), 0.15
_PNG_BYTE, _PNG_MEGABYTE = 21, 3
_WEBP, _WEBP_LOSSLESS = Rate(36, 130), Rate(75, 130)
_GIF, _BMP, _BMP_RUNS = Rate(21, 12), Rate(5, 1), Rate(21, 480)
_TIFF_BYTE, _TIFF_LZMA_BYTE, _TIFF_MEGABYTE = 12, 66, 75
_AVIF, _HEIC = Rate(30, 200), Rate(36, 255)


class Cost(NamedTuple):
    pixels: int
    """As many as the header promises."""
    seconds: float
    """CPU time of a slow core."""
    isolated: bool = False
    """The decoder runs code of its own on all of the file at once, so only a process can be stopped."""


class _Promise(NamedTuple):
    """What a header says."""

    size: tuple[int, int] | None
    """None: it could not be found, so the photo may have as many pixels as are allowed."""
    rate: Rate
    isolated: bool = False


_Photo = bytes | bytearray


def check_cost(photo: _Photo, limits: Limits) -> Cost:
    """Return what decoding *photo* costs at most; raise a `Problem` if it is over the limits, or not an image."""
    if not photo:
        raise MalformedRequest("the photo is empty (0 bytes); send the image's bytes with POST or PUT")
    if len(photo) > limits.max_photo_bytes:
        raise TooLarge(
            f"the photo is {len(photo):,} bytes, the limit is {limits.max_photo_bytes:,}; send a smaller JPEG"
        )
    promise = _read_header(photo)
    pixels = limits.max_photo_pixels if promise.size is None else promise.size[0] * promise.size[1]
    if promise.size is not None and pixels > limits.max_photo_pixels:
        raise TooLarge(
            f"the image has too many pixels: {promise.size[0]}x{promise.size[1]} pixels, the limit is "
            f"{limits.max_photo_pixels:,} in all; scale it down"
        )
    seconds = (pixels * promise.rate.megapixel + len(photo) * promise.rate.megabyte) / 1e9
    if seconds > limits.max_photo_seconds:
        raise TooLarge(
            f"to decode this image of {pixels:,} pixels and {len(photo):,} bytes takes {seconds:.1f} s of CPU time, "
            f"the limit is {limits.max_photo_seconds:g}; scale it down, or send a JPEG"
        )
    return Cost(pixels, seconds, promise.isolated)


def _read_header(photo: _Photo) -> _Promise:
    start = bytes(photo[:16])
    if start.startswith(JPEG_START):
        return _read_jpeg(photo)
    for read, starts in _READERS.items():
        if start.startswith(starts):
            return read(photo)
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _read_webp(photo)
    if start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS | _AVIF_BRANDS:
        return _read_heif(photo, _AVIF if start[8:12] in _AVIF_BRANDS else _HEIC)
    raise NotAPhoto(f"these {len(photo):,} bytes are not an image that fruity reads: {_READABLE}")


def _read_jpeg(photo: _Photo) -> _Promise:
    jpeg = read_jpeg(photo)
    rate = Rate(_PROGRESSIVE_JPEG.megapixel + _PROGRESSIVE_SCAN * jpeg.num_scans, _PROGRESSIVE_JPEG.megabyte)
    return _Promise(jpeg.size, rate if jpeg.num_scans > 1 else _JPEG)


def _read_png(photo: _Photo) -> _Promise:
    num_bytes = _PNG_CHANNELS.get(_int(photo, 25, 1), 4) * max(1, _int(photo, 24, 1) // 8)
    return _Promise((_int(photo, 16, 4), _int(photo, 20, 4)), Rate(_PNG_BYTE * num_bytes, _PNG_MEGABYTE))


def _read_gif(photo: _Photo) -> _Promise:
    return _Promise((_int(photo, 6, 2, "little"), _int(photo, 8, 2, "little")), _GIF)


def _read_bmp(photo: _Photo) -> _Promise:
    if _int(photo, 14, 4, "little") == 12:
        return _Promise((_int(photo, 18, 2, "little"), _int(photo, 20, 2, "little")), _BMP)
    # A negative height means that the rows go from top to bottom.
    height = abs(int.from_bytes(photo[22:26], "little", signed=True))
    # Pillow reads run lengths in Python.
    runs = _int(photo, 30, 4, "little") in (1, 2)
    return _Promise((_int(photo, 18, 4, "little"), height), _BMP_RUNS if runs else _BMP, isolated=runs)


def _read_webp(photo: _Photo) -> _Promise:
    chunk = bytes(photo[12:16])
    if chunk == b"VP8X":
        return _Promise((1 + _int(photo, 24, 3, "little"), 1 + _int(photo, 27, 3, "little")), _WEBP_LOSSLESS)
    if chunk == b"VP8L":
        bits = _int(photo, 21, 4, "little")
        return _Promise((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), _WEBP_LOSSLESS)
    return _Promise((_int(photo, 26, 2, "little") & 0x3FFF, _int(photo, 28, 2, "little") & 0x3FFF), _WEBP)


def _read_tiff(photo: _Photo) -> _Promise:
    order: Literal["little", "big"] = "little" if photo[:1] == b"I" else "big"
    if photo[2:4] in (b"+\0", b"\0+"):
        # BigTIFF, which cameras do not write.
        return _Promise(None, Rate(_TIFF_BYTE * 3, _TIFF_MEGABYTE), isolated=True)
    directory = _int(photo, 4, 4, order)
    values: dict[int, int] = {}
    end = min(directory + 2 + 12 * _int(photo, directory, 2, order), len(photo))
    for entry in range(directory + 2, end, 12):
        width = 2 if _int(photo, entry + 2, 2, order) == 3 else 4
        # More than fit into the entry stand elsewhere.
        inside = width * _int(photo, entry + 4, 4, order) <= 4
        place = entry + 8 if inside else _int(photo, entry + 8, 4, order)
        values.setdefault(_int(photo, entry, 2, order), _int(photo, place, width, order))
    num_bytes = max(1, values.get(_TIFF_CHANNELS, 1) * values.get(_TIFF_BITS, 1) / 8)
    byte = _TIFF_LZMA_BYTE if values.get(_TIFF_COMPRESSION) == _TIFF_LZMA else _TIFF_BYTE
    size = (values[_TIFF_WIDTH], values[_TIFF_HEIGHT]) if {_TIFF_WIDTH, _TIFF_HEIGHT} <= values.keys() else None
    return _Promise(size, Rate(byte * min(num_bytes, 16), _TIFF_MEGABYTE), isolated=True)


def _read_heif(photo: _Photo, rate: Rate) -> _Promise:
    # The largest is the picture; others are its tiles, its thumbnail and its depth.
    # One at a time: 16 MB may hold a million of them.
    sizes = ((int.from_bytes(found[1]), int.from_bytes(found[2])) for found in _ISPE.finditer(photo))
    return _Promise(max(sizes, key=lambda size: size[0] * size[1], default=None), rate, isolated=True)


def _int(photo: _Photo, start: int, length: int, order: Literal["little", "big"] = "big") -> int:
    return int.from_bytes(photo[start : start + length], order)


_READERS: dict[Callable[[_Photo], _Promise], tuple[bytes, ...]] = {
    _read_png: (b"\x89PNG\r\n\x1a\n",),
    _read_gif: (b"GIF87a", b"GIF89a"),
    _read_bmp: (b"BM",),
    _read_tiff: _TIFF_STARTS,
}
