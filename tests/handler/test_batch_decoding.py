import os

import numpy as np
import pytest

from handler.batch_decoding import defer_requests, preprocess_isolated, preprocess_request
from handler.decode_cost import Cost
from handler.preprocess import ModelInput, preprocess_with_header
from handler.problem import Busy, MalformedRequest, Problem, UnusablePhoto
from handler.request import NamedPhoto, Request
from handler.settings import Limits
from tests.handler.hostile_photos import tiff_of_strips
from tests.pictures import draw_corners, draw_waves, encode
from tests.specs import make_spec

PREPROCESSING = make_spec().preprocessing
LIMITS = Limits(max_photo_seconds=2, max_request_seconds=3, max_batch_seconds=3)


def request_of(*photos: bytes, seconds: float = 0.0, isolated: bool = False) -> Request:
    """Return a request whose photos take *seconds* each."""
    named = [NamedPhoto(str(i), photo, Cost(100, seconds, isolated)) for i, photo in enumerate(photos)]
    return Request(tuple(named), 5, explain=False, wants_picture=False)


def is_busy(requests: list[Request | Problem]) -> list[bool]:
    return [isinstance(request, Busy) for request in requests]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([3.0], [False]),
        ([0.1, 0.1, 0.1, 0.1], [False] * 4),
        ([3.0, 0.1], [True, False]),
        ([2.0, 2.5, 0.1, 1.0], [True, True, False, False]),
        ([3.0, 3.0, 3.0, 3.0], [False, True, True, True]),
    ],
)
def test_the_cheapest_requests_are_answered_and_what_does_not_fit_beside_them_is_busy(
    seconds: list[float], expected: list[bool]
) -> None:
    requests = [request_of(b"", seconds=one) for one in seconds]

    assert is_busy(defer_requests(requests, LIMITS)) == expected


def test_a_refused_request_costs_nothing_and_keeps_its_problem() -> None:
    refused = MalformedRequest("no")

    kept = defer_requests([refused, request_of(b"", seconds=3.0)], LIMITS)

    assert kept[0] is refused
    assert is_busy(kept) == [False, False]


def test_busy_is_a_503_whose_detail_says_what_to_do() -> None:
    busy = defer_requests([request_of(b"", seconds=3.0), request_of(b"", seconds=3.0)], LIMITS)[1]

    assert isinstance(busy, Busy)
    assert (busy.status, busy.kind) == (503, "busy")
    assert "Retry-After" in str(busy)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "TIFF"])
def test_an_isolated_photo_gives_the_same_input(kind: str) -> None:
    photo = encode(draw_waves(300, 200), kind)

    isolated, cpu_seconds = preprocess_isolated(photo, PREPROCESSING, LIMITS, max_cpu_seconds=5)

    expected = preprocess_with_header(photo, PREPROCESSING, LIMITS)
    assert isinstance(isolated, ModelInput)
    np.testing.assert_array_equal(isolated.photo_HWC, expected.photo_HWC)
    assert (isolated.photo, isolated.header) == (photo, expected.header)
    assert isolated.decode_seconds > 0
    assert cpu_seconds > 0


def test_an_isolated_photo_without_a_process_is_busy_and_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    tiff, jpeg = (encode(draw_waves(96, 64), kind) for kind in ("TIFF", "JPEG"))
    named = (NamedPhoto("tiff", tiff, Cost(100, 0.0, isolated=True)), NamedPhoto("jpeg", jpeg, Cost(100, 0.0)))

    request = Request(named, 5, explain=False, wants_picture=False)
    first, second = preprocess_request(request, PREPROCESSING, LIMITS)

    assert isinstance(first.given, Busy)
    assert isinstance(second.given, ModelInput)
    assert preprocess_isolated(tiff, PREPROCESSING, LIMITS, max_cpu_seconds=5)[1] == 0.0


def test_an_isolated_photo_keeps_its_problem() -> None:
    photo = encode(draw_corners(8, 8), "TIFF")

    problem, _ = preprocess_isolated(photo, PREPROCESSING, LIMITS, max_cpu_seconds=5)

    assert isinstance(problem, UnusablePhoto)
    assert "8x8 pixels, each side must have at least" in str(problem)


def test_a_decoder_that_takes_too_long_is_stopped_and_the_other_photos_are_answered() -> None:
    slow, good = tiff_of_strips(1_000_000), encode(draw_waves(300, 200))
    named = (NamedPhoto("slow", slow, Cost(100, 0.05, isolated=True)), NamedPhoto("good", good, Cost(100, 0.0)))

    stopped, answered = preprocess_request(Request(named, 5, False, False), PREPROCESSING, LIMITS)

    assert isinstance(stopped.given, UnusablePhoto)
    assert "stopped after" in str(stopped.given)
    assert stopped.decode_seconds > 0.05
    assert isinstance(answered.given, ModelInput)


def test_the_decoders_of_a_request_share_what_they_may_take_beyond_their_estimates() -> None:
    slow = tiff_of_strips(1_000_000)
    before = os.times()

    photos = preprocess_request(request_of(*[slow] * 8, seconds=0.02, isolated=True), PREPROCESSING, LIMITS)

    after = os.times()
    assert {type(photo.given) for photo in photos} == {UnusablePhoto}
    # Eight of them alone might take 8 x 0.54 s.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2.0


def test_a_photo_that_was_refused_already_keeps_its_problem() -> None:
    refused = MalformedRequest("not base64")
    request = Request((NamedPhoto("a", refused),), 5, explain=False, wants_picture=False)

    assert [photo.given for photo in preprocess_request(request, PREPROCESSING, LIMITS)] == [refused]
    assert preprocess_request(refused, PREPROCESSING, LIMITS) == []
