"""Any bytes as a photo: an image within the limits, or a problem."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.decode import MEDIA_TYPES
from handler.decode_cost import check_cost
from handler.preprocess import preprocess_with_header
from handler.problem import Problem
from handler.settings import Limits
from tests.fuzz.broken_photos import broken_photos, small_photos, split
from tests.fuzz.property import gate
from tests.specs import make_spec

PREPROCESSING = make_spec().preprocessing
LIMITS = Limits(max_photo_pixels=1_000_000)
STATUSES = {400, 413, 415, 422}


@gate(150)
@given(broken_photos() | st.binary(max_size=300))
def test_any_photo_gives_a_model_input_within_the_limits_or_a_problem(photo: bytes) -> None:
    try:
        given_photo = preprocess_with_header(photo, PREPROCESSING, LIMITS)
    except Problem as problem:
        assert problem.status in STATUSES
        assert str(problem)
        return
    width, height, media_type = given_photo.header
    assert given_photo.photo_HWC.shape == (64, 64, 3)
    assert given_photo.photo_HWC.dtype == np.uint8
    # The budget of work counts no fewer pixels than are decoded.
    assert width * height <= check_cost(photo, LIMITS).pixels <= LIMITS.max_photo_pixels
    assert min(width, height) >= LIMITS.min_photo_side
    assert media_type in MEDIA_TYPES.values()


@pytest.mark.parametrize("photo", small_photos(), ids=lambda photo: repr(photo[:12]))
def test_the_photos_that_are_broken_can_be_used_and_are_split_without_a_loss(photo: bytes) -> None:
    pieces = split(photo)

    assert preprocess_with_header(photo, PREPROCESSING, LIMITS).header[:2] == (48, 36)
    assert b"".join(pieces) == photo
    assert len(pieces) >= 3
