"""What a client gets for good and bad requests; the client checks each answer against docs/openapi.yaml."""

import base64
import io
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.hostile_requests import mutate
from serving.torchserve import TorchServe
from tests.end_to_end.photos import ESPRESSO, FORMATS, NOT_FOOD, cat, coffee, encode
from tests.handler.hostile_photos import png_of_empty_chunks, tiff_of_strips
from tests.pictures import make_png_bomb

pytestmark = pytest.mark.server

PREDICT = "/predictions/fruity"
EXPLAIN = "/explanations/fruity"
MEGABYTE = 1_000_000


def first_label(response: httpx.Response) -> str:
    label: str = response.json()["predictions"][0]["labels"][0]["label"]
    return label


def instances(*photos: bytes, **parameters: object) -> dict[str, object]:
    encoded = [{"b64": base64.b64encode(photo).decode()} for photo in photos]
    return {"json": {"instances": encoded, "parameters": parameters}}


def tiny_photo(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


# Keyword arguments of a request, and the status of each photo's own error or its label.
REQUESTS: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "raw": ({"content": coffee()}, [ESPRESSO]),
    "form": (
        {"files": {"cup": coffee(), "pet": cat(), "cut": coffee()[:5000], "text": b"hello", "top_k": (None, "3")}},
        [ESPRESSO, NOT_FOOD, 422, 415],
    ),
    "JSON": (instances(coffee(), cat(), b""), [ESPRESSO, NOT_FOOD, 400]),
}


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN, f"{PREDICT}/1.0.0", f"{EXPLAIN}/1.0.0"])
@pytest.mark.parametrize(("request_", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_each_photo_gets_its_label_or_its_own_error(
    inference: httpx.Client, request_: dict[str, Any], expected: list[str | int], path: str, method: str
) -> None:
    response = inference.request(method, path, **request_)

    predictions = response.json()["predictions"]
    assert response.status_code == 200
    assert [one["error"]["status"] if "error" in one else one["labels"][0]["label"] for one in predictions] == expected


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_does_not_change_the_answer(inference: httpx.Client, kind: str) -> None:
    answer = inference.put(PREDICT, content=encode(coffee(), kind)).json()

    (prediction,) = answer["predictions"]
    best = prediction["labels"][0]
    assert (answer["model"], answer["version"]) == ("fruity", "1.0.0")
    assert (prediction["photo"], prediction["confident"], len(prediction["labels"])) == ("body", True, 5)
    assert (best["label"], best["probability"] > 0.8) == (ESPRESSO, True)


@pytest.mark.parametrize("content_type", ["image/jpeg", "text/plain", "application/json", "application/x-tar", ""])
def test_the_content_type_does_not_change_the_answer(inference: httpx.Client, content_type: str) -> None:
    response = inference.post(PREDICT, content=encode(coffee(), "jpeg"), headers={"Content-Type": content_type})

    assert first_label(response) == ESPRESSO


def test_a_chunked_body_is_read_whole(inference: httpx.Client) -> None:
    photo = coffee()

    response = inference.post(PREDICT, content=(photo[i : i + 10_000] for i in range(0, len(photo), 10_000)))

    assert first_label(response) == ESPRESSO


@pytest.mark.parametrize(
    ("request_", "names", "num_labels"),
    [
        ({"files": {"cup": coffee(), "pet": cat(), "top_k": (None, "2")}}, ["cup", "pet"], 2),
        (instances(coffee(), cat(), top_k=1), ["instances[0]", "instances[1]"], 1),
        ({"content": coffee(), "headers": {"x-top-k": "60"}}, ["body"], 60),
    ],
)
def test_each_photo_is_answered_under_its_name_with_top_k_labels(
    inference: httpx.Client, request_: dict[str, Any], names: list[str], num_labels: int
) -> None:
    predictions = inference.post(PREDICT, **request_).json()["predictions"]

    assert [one["photo"] for one in predictions] == names
    assert {len(one["labels"]) for one in predictions} == {num_labels}


def test_an_explanation_has_a_heatmap_of_what_decided_or_is_the_picture_itself(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee())
    picture = inference.post(EXPLAIN, content=coffee(), headers={"Accept": "image/png"})

    heatmap = Image.open(io.BytesIO(base64.b64decode(response.json()["predictions"][0]["heatmap_png"])))
    values_HW = np.asarray(heatmap)
    overlay = Image.open(io.BytesIO(picture.content))
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", (224, 224))
    # The cup is in the middle of this photo, the corners show the table.
    assert values_HW[84:140, 84:140].mean() > 2 * values_HW[:28, :28].mean()
    assert (overlay.format, overlay.mode, overlay.size) == ("PNG", "RGB", (224, 224))


def form(*names: str, photo: bytes) -> dict[str, Any]:
    return {"files": [(name, ("photo.png", photo)) for name in names]}


# Keyword arguments of a request, its status and what the problem names.
BAD_REQUESTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "empty": ({"content": b""}, 400, ""),
    "text": ({"content": b"this is not a photo"}, 415, ""),
    "cut JPEG": ({"content": encode(coffee(), "jpeg")[:3000]}, 422, ""),
    "1x1": ({"content": tiny_photo(1, 1)}, 422, ""),
    "30,000x30,000 PNG": ({"content": make_png_bomb(30_000)}, 413, ""),
    "zip named jpg": ({"content": b"PK\x03\x04" + bytes(500)}, 415, ""),
    "20 MB": ({"content": random.Random(0).randbytes(20 * MEGABYTE)}, 413, ""),
    "20 MB PNG": ({"content": coffee() + bytes(20 * MEGABYTE)}, 413, ""),
    "torn JSON": ({"content": "{", "headers": {"Content-Type": "application/json"}}, 400, "JSON"),
    "no instances": ({"json": {"photos": []}}, 400, "instances"),
    "wrong base64": ({"json": {"instances": [{"b64": "%%%"}]}}, 400, "base64"),
    "unknown parameter": (instances(coffee(), topk=3), 400, "topk"),
    "top_k in JSON": (instances(coffee(), top_k=0), 400, "top_k"),
    "top_k in the header": ({"content": coffee(), "headers": {"X-Top-K": "61"}}, 400, "1 to 60"),
    "two photos under one name": (form("photo", "photo", photo=coffee()), 400, "field name"),
    "form without a photo": ({"files": {"top_k": (None, "3")}}, 400, ""),
    "form of bad photos": (form("a", "b", photo=b"hello"), 415, ""),
    "too many in a form": (form(*map(str, range(17)), photo=tiny_photo(64, 64)), 413, "16"),
    "too many in JSON": (instances(*[b"x"] * 17), 413, "16"),
}


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize(("request_", "status", "words"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_bad_request_is_a_problem_and_the_next_one_is_answered(
    inference: httpx.Client, request_: dict[str, Any], status: int, words: str, path: str
) -> None:
    response = inference.post(path, **request_)

    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"].startswith("urn:fruity:")
    assert words in problem["detail"]
    assert first_label(inference.post(PREDICT, content=coffee())) == ESPRESSO


def test_one_picture_of_two_photos_is_refused(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, **form("a", "b", photo=coffee()), headers={"Accept": "image/png"})

    assert response.status_code == 400


def test_an_unknown_version_is_not_found(inference: httpx.Client) -> None:
    assert inference.post(f"{PREDICT}/9.9.9", content=coffee()).status_code == 404


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


def test_files_made_to_keep_a_decoder_busy_cost_no_worker_and_no_other_client(
    server: TorchServe, management: httpx.Client
) -> None:
    slow = {"slow": tiff_of_strips(500_000), "chunks": png_of_empty_chunks(100_000), "again": tiff_of_strips(400_000)}
    pids = worker_pids(management)

    with httpx.Client(base_url=server.addresses.inference, timeout=60) as client, ThreadPoolExecutor(8) as clients:
        hostile = [clients.submit(client.post, PREDICT, files=slow) for _ in range(6)]
        honest = list(clients.map(lambda _: client.post(PREDICT, content=encode(coffee(), "jpeg")), range(20)))
        refused = {sent.result().status_code for sent in hostile}

    assert {first_label(response) for response in honest} == {ESPRESSO}
    assert refused <= {422, 503}
    assert worker_pids(management) == pids


def test_an_answer_says_where_its_time_went(inference: httpx.Client) -> None:
    timing = inference.post(PREDICT, content=coffee()).headers["Server-Timing"]

    assert re.fullmatch(r"decode;dur=[\d.]+, preprocess;dur=[\d.]+, inference;dur=[\d.]+, handler;dur=[\d.]+", timing)
