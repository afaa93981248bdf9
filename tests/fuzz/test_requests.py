"""Any request: photos and parameters within the limits, or a problem; the others of its batch get their answers."""

import atexit
import base64
import functools
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from handler.problem import Problem
from handler.request import read_request
from handler.settings import Settings
from serving.model_store import DEFAULT_ARCHIVE
from tests.fuzz.broken_bytes import ANY_JSON, broken_bytes, broken_json
from tests.fuzz.broken_photos import broken_photos, small_photos
from tests.fuzz.property import gate
from tests.handler.worker import Worker, first_labels, raw
from tests.pictures import draw_corners, encode

NUM_LABELS = 60
SETTINGS = Settings()
STATUSES = {200, 400, 413, 415, 422}

_TEXT = st.text(max_size=30)
_NUMBERS = st.integers().map(str) | st.sampled_from(("3", "+3", "3.0", "1e3", "٣", "²", "", " 7 ", "9" * 5000))
_CONTENT_TYPES = st.sampled_from(
    (
        *("application/json", "multipart/form-data; boundary=x", 'multipart/form-data; boundary="', "image/jpeg"),
        *(
            "multipart/form-data",
            "application/x-www-form-urlencoded",
            "",
            ";",
            "multipart/form-data;boundary=x;boundary=y",
        ),
    )
)
_USUAL = {"Content-Type": _CONTENT_TYPES | _CONTENT_TYPES | _TEXT, "Content-Length": _NUMBERS | _TEXT}
_SOMETIMES = {
    "X-Top-K": _NUMBERS | _TEXT,
    "Accept": st.sampled_from(("image/png", "image/png;q=0", "*/*", "")) | _TEXT,
    "explain": st.sampled_from(("True", "true", "")),
    "describe": st.sampled_from(("True", "")),
    "X-Probe": _TEXT,
    "X-Request-Id": _TEXT,
    "traceparent": _TEXT,
}
HEADERS = st.fixed_dictionaries(_USUAL, optional=_SOMETIMES)
_PHOTO = base64.b64encode(encode(draw_corners(32, 32))).decode()
_DOCUMENT = {"instances": [{"b64": _PHOTO}, {"b64": _PHOTO}], "parameters": {"top_k": 2}}
_DEEP = st.sampled_from(('{"instances":' + "[" * 5_000, '{"a":' * 5_000, "[" * 5_000 + "]" * 5_000)).map(str.encode)
_JSON_BODIES = broken_json(_DOCUMENT) | ANY_JSON.map(lambda value: json.dumps(value).encode()) | _DEEP
_BODIES = _JSON_BODIES | broken_photos() | st.binary(max_size=100) | broken_bytes(json.dumps(_DOCUMENT).encode())
_PARTS = st.dictionaries(
    st.sampled_from(("photo", "top_k", "")) | _TEXT, _BODIES | _NUMBERS.map(str.encode), max_size=20
)
ROWS: st.SearchStrategy[dict[str, Any]] = (
    _BODIES.map(lambda body: {"body": bytearray(body)})
    | _PARTS.map(lambda parts: {name: bytearray(content) for name, content in parts.items()})
    # TorchServe hands text and JSON over as such, if it is set to.
    | (_TEXT | ANY_JSON).map(lambda body: {"body": body})
)


_FORM = {"Content-Type": "multipart/form-data; boundary=x"}


@gate(200)
@example({"photo": bytearray(b"x")}, {**_FORM, "Content-Length": "3.0"})
@example({"photo": bytearray(b"x")}, {**_FORM, "Content-Length": "9" * 5000})
@given(ROWS, HEADERS)
def test_any_request_gives_photos_within_the_limits_or_a_problem(row: dict[str, Any], headers: dict[str, str]) -> None:
    try:
        request = read_request(row, {name.lower(): value for name, value in headers.items()}, SETTINGS, NUM_LABELS)
    except Problem as problem:
        assert problem.status in STATUSES - {200}
        return
    assert 1 <= request.top_k <= NUM_LABELS
    assert len(request.photos) <= SETTINGS.limits.max_photos
    assert all(isinstance(named.photo, bytes | bytearray | Problem) for named in request.photos)


@gate(25)
# The check whether a body is of the Open Inference Protocol raised RecursionError.
@example([({"body": bytearray(b'{"instances":' + b"[" * 5_000)}, {"Content-Type": "application/json"})], 0)
@given(st.lists(st.tuples(ROWS, HEADERS), min_size=1, max_size=3), st.integers(0, 3))
def test_an_honest_request_gets_its_answer_beside_any_others(
    others: list[tuple[dict[str, Any], dict[str, str]]], place: int
) -> None:
    place = min(place, len(others))
    requests = [*others[:place], raw(small_photos()[0]), *others[place:]]

    answers = worker().answer(*requests)

    assert first_labels(answers[place]) == honest_labels()
    assert {answer.status for answer in answers} <= STATUSES
    assert all(answer.content_type == "image/png" or json.loads(answer.body) for answer in answers)


@functools.cache
def worker() -> Worker:
    """A worker with the committed archive; a fixture would be out of reach of `make fuzz`."""
    folder = tempfile.TemporaryDirectory(prefix="fruity-fuzz-")
    atexit.register(folder.cleanup)
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as members:
        members.extractall(folder.name)
    return Worker(Path(folder.name))


@functools.cache
def honest_labels() -> list[str]:
    [answer] = worker().answer(raw(small_photos()[0]))
    return first_labels(answer)
