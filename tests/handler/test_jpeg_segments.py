from typing import Any

import pytest

from handler.jpeg_segments import read_jpeg
from tests.pictures import draw_waves, encode

FRAME_IN_A_COMMENT = b"\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03"


@pytest.mark.parametrize("size", [(8, 8), (300, 700), (700, 300), (65, 1025)])
@pytest.mark.parametrize("options", [{}, {"comment": FRAME_IN_A_COMMENT}, {"restart_marker_rows": 1}])
def test_the_size_is_that_of_the_frame(size: tuple[int, int], options: dict[str, Any]) -> None:
    baseline = read_jpeg(encode(draw_waves(*size), "JPEG", **options))
    progressive = read_jpeg(encode(draw_waves(*size), "JPEG", progressive=True, **options))

    assert (baseline.size, baseline.num_scans) == (size, 1)
    # libjpeg-turbo's usual script for three components.
    assert (progressive.size, progressive.num_scans) == (size, 10)


def test_without_a_frame_there_is_no_size() -> None:
    assert read_jpeg(b"\xff\xd8\xff\xd9") == (None, 0)


def test_what_follows_the_one_scan_of_a_sequential_jpeg_is_not_read() -> None:
    whole = encode(draw_waves(300, 200), "JPEG")
    scan = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"

    assert read_jpeg(whole.removesuffix(b"\xff\xd9") + 200 * scan) == ((300, 200), 1)
