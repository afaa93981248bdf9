"""What a client gets for everything else: a problem document as docs/openapi.yaml describes, and the server goes on."""

import base64
import io
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from serving.torchserve import TorchServe
from tests.end_to_end.photos import ESPRESSO, FORMATS, coffee, encode
from tests.pictures import make_png_bomb, mutate

pytestmark = pytest.mark.server

PREDICT = "/predictions/fruity"
EXPLAIN = "/explanations/fruity"
MEGABYTE = 1_000_000


def tiny_photo(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


BAD_PHOTOS = {
    "empty": (b"", 400),
    "text": (b"this is not a photo", 415),
    "cut JPEG": (encode(coffee(), "jpeg")[:3000], 422),
    "cut PNG": (coffee()[:3000], 422),
    "1x1": (tiny_photo(1, 1), 422),
    "line": (tiny_photo(4000, 2), 422),
    "30,000x30,000 PNG": (make_png_bomb(30_000), 413),
    "9,000x9,000 PNG": (make_png_bomb(9_000), 413),
    "zip named jpg": (b"PK\x03\x04" + bytes(500), 415),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 415),
    "PDF": (b"%PDF-1.7\n" + bytes(300), 415),
    "20 MB": (random.Random(0).randbytes(20 * MEGABYTE), 413),
    "20 MB PNG": (coffee() + bytes(20 * MEGABYTE), 413),
}


def instances(*photos: bytes, **parameters: object) -> dict[str, object]:
    encoded = [{"b64": base64.b64encode(photo).decode()} for photo in photos]
    return {"json": {"instances": encoded, "parameters": parameters}}


def malformed(body: str) -> dict[str, object]:
    return {"content": body, "headers": {"Content-Type": "application/json"}}


# Keyword arguments of a request, its status and what the problem names.
BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no instances": (malformed('{"photos": []}'), 400, "instances"),
    "empty instances": (malformed('{"instances": []}'), 400, "instances"),
    "b64 of a number": (malformed('{"instances": [{"b64": 5}]}'), 400, "instances[0].b64"),
    "instance of a string": (malformed('{"instances": ["aGVsbG8="]}'), 400, "instances[0]"),
    "torn JSON": (malformed("{"), 400, "JSON"),
    "null": (malformed("null"), 400, "JSON"),
    "wrong base64": (malformed('{"instances": [{"b64": "%%%"}]}'), 400, "base64"),
    "unknown parameter": (instances(coffee(), topk=3), 400, "topk"),
    **{f"top_k {k!r} in JSON": (instances(coffee(), top_k=k), 400, "top_k") for k in (0, -1, "x", 10**9)},
    **{
        f"top_k {k!r} in the header": ({"content": coffee(), "headers": {"X-Top-K": k}}, 400, "1 to 60")
        for k in ("0", "-1", "x", "1000000000", "61", "1.5", "")
    },
    "two photos under one name": (
        {"files": [("photo", ("a.png", coffee())), ("photo", ("b.png", coffee()))]},
        400,
        "field name of its own",
    ),
    "form without a photo": ({"files": {"top_k": (None, "3")}}, 400, ""),
    "too many in a form": ({"files": {f"photo{i}": tiny_photo(64, 64) for i in range(17)}}, 413, "16"),
    "too many in JSON": (instances(*[b"x"] * 17), 413, "16"),
}


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize(("photo", "status"), BAD_PHOTOS.values(), ids=BAD_PHOTOS)
def test_a_bad_photo_is_a_problem_and_the_next_one_is_answered(
    inference: httpx.Client, photo: bytes, status: int, path: str
) -> None:
    response = inference.post(path, content=photo)

    assert_is_problem(response, status)
    assert inference.post(PREDICT, content=coffee()).json()["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize(("request_", "status", "words"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_a_problem_that_names_the_fault(
    inference: httpx.Client, request_: dict[str, Any], status: int, words: str, path: str
) -> None:
    problem = assert_is_problem(inference.post(path, **request_), status)

    assert words in problem["detail"]


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_a_form_of_bad_photos_has_an_error_for_each(inference: httpx.Client, path: str) -> None:
    response = inference.post(path, files={"text": b"hello", "tiny": tiny_photo(1, 1)})

    problem = assert_is_problem(response, 415)
    assert [one["error"]["status"] for one in problem["predictions"]] == [415, 422]


def test_one_picture_of_two_photos_is_refused(inference: httpx.Client) -> None:
    files = {"a": coffee(), "b": coffee()}

    response = inference.post(EXPLAIN, files=files, headers={"Accept": "image/png"})

    assert_is_problem(response, 400)


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
def test_an_unknown_version_is_not_found(inference: httpx.Client, path: str) -> None:
    assert inference.post(f"{path}/9.9.9", content=coffee()).status_code == 404


def assert_is_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:fruity:")
    assert problem["title"]
    assert problem["detail"]
    return problem


def worker_pids(management: httpx.Client) -> list[int]:
    return [worker["pid"] for worker in management.get("/models/fruity").json()[0]["workers"]]


def test_hundreds_of_mutated_photos_cost_no_worker_and_no_5xx(server: TorchServe, management: httpx.Client) -> None:
    originals = [encode(coffee(), kind, side=200) for kind in FORMATS]
    mutated = [mutate(originals[seed % len(originals)], np.random.default_rng(seed)) for seed in range(400)]
    pids = worker_pids(management)

    with httpx.Client(base_url=server.addresses.inference, timeout=60) as client, ThreadPoolExecutor(8) as clients:
        statuses = Counter(clients.map(lambda photo: client.post(PREDICT, content=photo).status_code, mutated))

    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert statuses[422] > 50
    assert statuses[200] > 20
    assert worker_pids(management) == pids
