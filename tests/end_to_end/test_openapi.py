"""What a real server answers is what docs/openapi.yaml says."""

import base64
from typing import Any

import httpx
import pytest

from tests.docs.document import check, read_document, response_contents
from tests.end_to_end.photos import cat, coffee

pytestmark = pytest.mark.server

PREDICT = "/predictions/fruity"
EXPLAIN = "/explanations/fruity"


def instance(photo: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(photo).decode()}


# Keyword arguments for the request, by what is asked.
GOOD: dict[str, dict[str, Any]] = {
    "raw": {"content": coffee()},
    "raw with top_k": {"content": coffee(), "headers": {"X-Top-K": "2"}},
    "form": {"files": {"cup": coffee(), "pet": cat(), "top_k": (None, "3")}},
    "form with one broken photo": {"files": {"cup": coffee(), "broken": coffee()[:3000], "text": b"hello"}},
    "JSON": {"json": {"instances": [instance(coffee())], "parameters": {"top_k": 1}}},
    "JSON with a bad instance": {"json": {"instances": [instance(coffee()), {"b64": "%%%"}, instance(b"")]}},
}
BAD: dict[str, tuple[int, dict[str, Any]]] = {
    "no photo": (415, {"content": b"this is no photo"}),
    "empty": (400, {"content": b""}),
    "top_k": (400, {"content": coffee(), "headers": {"X-Top-K": "0"}}),
    "JSON": (400, {"json": {"photos": []}}),
    "broken": (422, {"content": coffee()[:3000]}),
    "too large": (413, {"content": coffee() + bytes(17_000_000)}),
    "too many": (413, {"json": {"instances": [instance(b"x")] * 17}}),
    "form of bad photos": (415, {"files": {"text": b"hello", "broken": coffee()[:3000]}}),
}


def check_answer(response: httpx.Response, path: str, method: str) -> None:
    """Raise if the document does not promise *response*, its media type and its body."""
    document = read_document()
    media_type = response.headers["content-type"].partition(";")[0]
    contents = response_contents(document, path, method, response.status_code)
    check(document, contents[media_type]["schema"], response.json())


@pytest.mark.parametrize("method", ["post", "put"])
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_as_described(inference: httpx.Client, name: str, path: str, method: str) -> None:
    response = inference.request(method, path, **GOOD[name])

    assert response.status_code == 200
    check_answer(response, path, method)


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize("name", BAD)
def test_a_problem_is_as_described(inference: httpx.Client, name: str, path: str) -> None:
    status, request = BAD[name]

    response = inference.post(path, **request)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    check_answer(response, path, "post")


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_a_version_answers_as_described(inference: httpx.Client, path: str) -> None:
    found = inference.post(f"{path}/1.0.0", content=coffee())
    missing = inference.post(f"{path}/9.9.9", content=coffee())

    assert (found.status_code, missing.status_code) == (200, 404)
    check_answer(found, f"{path}/{{version}}", "post")
    check_answer(missing, f"{path}/{{version}}", "post")


def test_an_explanation_as_picture_is_as_described(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee(), headers={"Accept": "image/png"})

    media_type = response.headers["content-type"]
    assert media_type in response_contents(read_document(), EXPLAIN, "post", 200)
    assert (media_type, response.content[1:4]) == ("image/png", b"PNG")
