"""What a client gets for everything else: a problem document, and the server goes on."""

import base64
import io
import random
import struct
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from PIL import Image

from serving.torchserve import TorchServe
from tests.end_to_end.photos import ESPRESSO, FORMATS, coffee, encode, mutate

pytestmark = pytest.mark.server

PREDICT = "/predictions/fruity"
MEGABYTE = 1_000_000


def png_bomb(side: int) -> bytes:
    """Return a valid head of a *side* x *side* PNG; its pixels would take gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def tiny_photo(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


BAD_PHOTOS = {
    "empty": (b"", 400),
    "text": (b"this is no photo", 415),
    "cut JPEG": (encode(coffee(), "jpeg")[:3000], 422),
    "cut PNG": (coffee()[:3000], 422),
    "1x1": (tiny_photo(1, 1), 422),
    "line": (tiny_photo(4000, 2), 422),
    "30,000x30,000 PNG": (png_bomb(30_000), 413),
    "9,000x9,000 PNG": (png_bomb(9_000), 413),
    "zip named jpg": (b"PK\x03\x04" + bytes(500), 415),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 415),
    "PDF": (b"%PDF-1.7\n" + bytes(300), 415),
    "20 MB": (random.Random(0).randbytes(20 * MEGABYTE), 413),
    "20 MB PNG": (coffee() + bytes(20 * MEGABYTE), 413),
}


def assert_is_problem(response: httpx.Response, status: int) -> dict[str, object]:
    problem: dict[str, object] = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert str(problem["type"]).startswith("urn:fruity:")
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo_is_a_problem_and_the_next_one_is_answered(inference: httpx.Client, name: str) -> None:
    photo, status = BAD_PHOTOS[name]

    response = inference.post(PREDICT, content=photo)

    assert_is_problem(response, status)
    assert inference.post(PREDICT, content=coffee()).json()["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"photos": []}', "instances"),
        ('{"instances": []}', "instances"),
        ('{"instances": [{"b64": 5}]}', "instances[0].b64"),
        ('{"instances": ["aGVsbG8="]}', "instances[0]"),
        ("{", "JSON"),
        ("null", "JSON"),
        ('{"instances": [{"b64": "%%%"}]}', "base64"),
        ('{"instances": [{"b64": "aGk="}], "parameters": {"topk": 3}}', "topk"),
    ],
)
def test_malformed_json_says_what_is_wrong_with_it(inference: httpx.Client, body: str, words: str) -> None:
    response = inference.post(PREDICT, content=body, headers={"Content-Type": "application/json"})

    problem = assert_is_problem(response, 400)
    assert words in str(problem["detail"])


@pytest.mark.parametrize("top_k", ["0", "-1", "x", "1000000000", "61", "1.5", ""])
def test_a_top_k_that_cannot_be_is_refused(inference: httpx.Client, top_k: str) -> None:
    response = inference.post(PREDICT, content=coffee(), headers={"X-Top-K": top_k})

    problem = assert_is_problem(response, 400)
    assert "1 to 60" in str(problem["detail"])


@pytest.mark.parametrize("top_k", [0, -1, "x", 10**9])
def test_a_top_k_in_json_that_cannot_be_is_refused(inference: httpx.Client, top_k: object) -> None:
    instances = [{"b64": base64.b64encode(coffee()).decode()}]

    response = inference.post(PREDICT, json={"instances": instances, "parameters": {"top_k": top_k}})

    assert_is_problem(response, 400)


def test_two_photos_under_one_field_name_are_refused_not_halved(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, files=[("photo", ("a.png", coffee())), ("photo", ("b.png", coffee()))])

    problem = assert_is_problem(response, 400)
    assert "field name of its own" in str(problem["detail"])


def test_a_form_without_a_photo_is_refused(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, files={"top_k": (None, "3")})

    assert_is_problem(response, 400)


def test_more_photos_than_allowed_are_refused(inference: httpx.Client) -> None:
    photo = encode(coffee(), "jpeg", side=64)

    response = inference.post(PREDICT, files={f"photo{i}": photo for i in range(17)})

    problem = assert_is_problem(response, 413)
    assert "16" in str(problem["detail"])


def test_a_form_of_bad_photos_says_for_each_why(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, files={"text": b"hello", "tiny": tiny_photo(1, 1)})

    problem = assert_is_problem(response, 415)
    assert [one["error"]["status"] for one in problem["predictions"]] == [415, 422]  # type: ignore[attr-defined]


def test_a_picture_of_two_photos_cannot_be_had(inference: httpx.Client) -> None:
    files = {"a": coffee(), "b": coffee()}

    response = inference.post("/explanations/fruity", files=files, headers={"Accept": "image/png"})

    assert_is_problem(response, 400)


def test_an_unknown_version_is_not_found(inference: httpx.Client) -> None:
    response = inference.post(f"{PREDICT}/9.9.9", content=coffee())

    assert response.status_code == 404


def worker_pids(management: httpx.Client) -> list[int]:
    return [worker["pid"] for worker in management.get("/models/fruity").json()[0]["workers"]]


def test_hundreds_of_mutated_photos_cost_no_worker_and_no_5xx(server: TorchServe, management: httpx.Client) -> None:
    originals = [encode(coffee(), kind, side=200) for kind in FORMATS]
    mutated = [mutate(originals[seed % len(originals)], seed) for seed in range(400)]
    pids = worker_pids(management)

    with httpx.Client(base_url=server.addresses.inference, timeout=60) as client, ThreadPoolExecutor(8) as clients:
        statuses = Counter(clients.map(lambda photo: client.post(PREDICT, content=photo).status_code, mutated))

    assert set(statuses) <= {200, 400, 413, 415, 422}
    assert statuses[422] > 50
    assert statuses[200] > 20
    assert worker_pids(management) == pids
