"""What a client gets for photos that can be used; the client checks each answer against docs/openapi.yaml."""

import base64
import io
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.photos import ESPRESSO, FORMATS, NOT_FOOD, cat, coffee, encode

pytestmark = pytest.mark.server

PREDICT = "/predictions/fruity"
EXPLAIN = "/explanations/fruity"


def first_label(response: httpx.Response, index: int = 0) -> tuple[str, float]:
    best = response.json()["predictions"][index]["labels"][0]
    return best["label"], best["probability"]


def instance(photo: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(photo).decode()}


# Keyword arguments of a request, and the status of each photo's own error or its label.
REQUESTS: dict[str, tuple[dict[str, Any], list[str | int]]] = {
    "raw": ({"content": coffee()}, [ESPRESSO]),
    "form": ({"files": {"cup": coffee(), "pet": cat(), "top_k": (None, "3")}}, [ESPRESSO, NOT_FOOD]),
    "form with broken photos": (
        {"files": {"good": coffee(), "broken": coffee()[:5000], "text": b"hello"}},
        [ESPRESSO, 422, 415],
    ),
    "JSON": ({"json": {"instances": [instance(coffee()), instance(cat())]}}, [ESPRESSO, NOT_FOOD]),
    "JSON with bad instances": (
        {"json": {"instances": [instance(coffee()), {"b64": "%"}, instance(b"")]}},
        [ESPRESSO, 400, 400],
    ),
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


def test_an_answer_names_model_version_and_photo(inference: httpx.Client) -> None:
    response = inference.put(PREDICT, content=coffee())

    answer = response.json()
    (prediction,) = answer["predictions"]
    assert response.headers["content-type"] == "application/json"
    assert (answer["model"], answer["version"]) == ("fruity", "1.0.0")
    assert (prediction["photo"], prediction["confident"], len(prediction["labels"])) == ("body", True, 5)
    assert "heatmap_png" not in prediction


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_does_not_change_the_answer(inference: httpx.Client, kind: str) -> None:
    label, probability = first_label(inference.post(PREDICT, content=encode(coffee(), kind)))

    assert label == ESPRESSO
    assert probability > 0.8


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "image/png", "text/plain", "application/json", "application/x-tar", ""]
)
def test_the_content_type_does_not_change_the_answer(inference: httpx.Client, content_type: str) -> None:
    response = inference.post(PREDICT, content=encode(coffee(), "jpeg"), headers={"Content-Type": content_type})

    assert first_label(response)[0] == ESPRESSO


def test_a_chunked_body_is_read_whole(inference: httpx.Client) -> None:
    photo = coffee()

    response = inference.post(PREDICT, content=(photo[i : i + 10_000] for i in range(0, len(photo), 10_000)))

    assert first_label(response)[0] == ESPRESSO


def test_a_form_and_json_answer_each_photo_under_its_name_with_top_k_labels(inference: httpx.Client) -> None:
    form = inference.post(PREDICT, files={"cup": coffee(), "pet": cat(), "top_k": (None, "2")})
    instances = [instance(coffee()), instance(cat())]
    json = inference.post(PREDICT, json={"instances": instances, "parameters": {"top_k": 1}})

    predictions = [*form.json()["predictions"], *json.json()["predictions"]]
    assert [one["photo"] for one in predictions] == ["cup", "pet", "instances[0]", "instances[1]"]
    assert [len(one["labels"]) for one in predictions] == [2, 2, 1, 1]
    plain = first_label(inference.post(PREDICT, content=coffee()))
    assert first_label(form) == first_label(json) == pytest.approx(plain, abs=1e-3)


@pytest.mark.parametrize("header", ["X-Top-K", "x-top-k"])
def test_top_k_may_come_in_a_header(inference: httpx.Client, header: str) -> None:
    response = inference.post(PREDICT, content=coffee(), headers={header: "60"})

    labels = response.json()["predictions"][0]["labels"]
    probabilities = [one["probability"] for one in labels]
    assert len(labels) == 60
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)


def test_an_explanation_adds_a_heatmap_of_what_decided(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee())

    heatmap = Image.open(io.BytesIO(base64.b64decode(response.json()["predictions"][0]["heatmap_png"])))
    values_HW = np.asarray(heatmap)
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", (224, 224))
    # The cup is in the middle of this photo, the corners show the table.
    assert values_HW[84:140, 84:140].mean() > 2 * values_HW[:28, :28].mean()


def test_an_explanation_may_be_the_picture_itself(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee(), headers={"Accept": "image/png"})

    picture = Image.open(io.BytesIO(response.content))
    assert response.headers["content-type"] == "image/png"
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (224, 224))
