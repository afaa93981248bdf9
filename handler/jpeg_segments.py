"""The segments of a JPEG, read without a decoder (ITU-T T.81, annex B)."""

import re
from typing import NamedTuple

from handler.problem import UnusablePhoto

JPEG_START = b"\xff\xd8\xff"

# Inside a scan, FF is followed by 00 or by a restart marker, D0 to D7.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_FIRST_WITH_LENGTH = 0xC0
# libtiff's own limit. Each scan takes the decoder over the whole image, even a scan of 10 bytes.
_MAX_SCANS = 100
_MAX_SEGMENTS = 1000


class JpegSegments(NamedTuple):
    size: tuple[int, int] | None
    """Width and height; None if the JPEG has no frame."""
    num_scans: int
    """1 for a sequential JPEG whose scan has all components."""


def read_jpeg(photo: bytes | bytearray) -> JpegSegments:
    """Return what the segments say.

    Raises `UnusablePhoto` for scans or segments so many that a small file would keep the decoder busy for long.
    """
    num_scans = num_segments = 0
    size, components, position = None, None, 2
    while (found := _MARKER.search(photo, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker in _FRAMES:
            size = (
                int.from_bytes(photo[position + 5 : position + 7]),
                int.from_bytes(photo[position + 3 : position + 5]),
            )
        if marker in _SEQUENTIAL:
            components = photo[position + 7 : position + 8]
        num_segments += 1
        num_scans += marker == _START_OF_SCAN
        # A scan of all components is the only one of a sequential JPEG.
        if marker == _START_OF_SCAN and photo[position + 2 : position + 3] == components:
            break
        if num_scans > _MAX_SCANS or num_segments > _MAX_SEGMENTS:
            raise UnusablePhoto(
                f"the JPEG has more than {_MAX_SCANS} scans or {_MAX_SEGMENTS:,} segments, "
                "a usual progressive JPEG has about 10 and 50; save it again with an image editor"
            )
        if marker >= _FIRST_WITH_LENGTH:
            position += max(2, int.from_bytes(photo[position : position + 2]))
    return JpegSegments(size, num_scans)
