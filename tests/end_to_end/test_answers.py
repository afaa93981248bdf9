"""What a client gets for photos that can be used."""

import base64
import io

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


def test_a_coffee_is_an_espresso(inference: httpx.Client) -> None:
    response = inference.put(PREDICT, content=coffee())

    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert (answer["model"], answer["version"]) == ("fruity", "1.0.0")
    assert answer["predictions"][0]["photo"] == "body"
    assert answer["predictions"][0]["confident"] is True
    assert len(answer["predictions"][0]["labels"]) == 5
    label, probability = first_label(response)
    assert label == ESPRESSO
    assert probability > 0.8


def test_a_cat_is_not_food(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, content=cat())

    label, probability = first_label(response)
    assert label == NOT_FOOD
    assert probability > 0.8


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_does_not_change_the_answer(inference: httpx.Client, kind: str) -> None:
    response = inference.post(PREDICT, content=encode(coffee(), kind))

    label, probability = first_label(response)
    assert label == ESPRESSO
    assert probability > 0.8


@pytest.mark.parametrize(
    "content_type", ["image/jpeg", "image/png", "text/plain", "application/json", "application/x-tar", ""]
)
def test_a_photo_is_a_photo_whatever_its_content_type(inference: httpx.Client, content_type: str) -> None:
    response = inference.post(PREDICT, content=encode(coffee(), "jpeg"), headers={"Content-Type": content_type})

    assert first_label(response)[0] == ESPRESSO


def test_a_chunked_body_is_read_whole(inference: httpx.Client) -> None:
    photo = coffee()

    response = inference.post(PREDICT, content=(photo[i : i + 10_000] for i in range(0, len(photo), 10_000)))

    assert first_label(response)[0] == ESPRESSO


def test_a_form_answers_each_photo_under_its_field_name(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, files={"cup": coffee(), "pet": cat(), "top_k": (None, "2")})

    predictions = response.json()["predictions"]
    assert [one["photo"] for one in predictions] == ["cup", "pet"]
    assert [one["labels"][0]["label"] for one in predictions] == [ESPRESSO, NOT_FOOD]
    assert [len(one["labels"]) for one in predictions] == [2, 2]


def test_json_instances_answer_like_the_photos_themselves(inference: httpx.Client) -> None:
    instances = [{"b64": base64.b64encode(photo).decode()} for photo in (coffee(), cat())]

    response = inference.post(PREDICT, json={"instances": instances, "parameters": {"top_k": 1}})

    plain = first_label(inference.post(PREDICT, content=coffee()))
    assert [one["photo"] for one in response.json()["predictions"]] == ["instances[0]", "instances[1]"]
    assert first_label(response) == pytest.approx(plain, abs=1e-3)
    assert first_label(response, 1)[0] == NOT_FOOD


@pytest.mark.parametrize("header", ["X-Top-K", "x-top-k"])
def test_top_k_may_come_in_a_header(inference: httpx.Client, header: str) -> None:
    response = inference.post(PREDICT, content=coffee(), headers={header: "60"})

    labels = response.json()["predictions"][0]["labels"]
    probabilities = [one["probability"] for one in labels]
    assert len(labels) == 60
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)


def test_a_broken_photo_does_not_cost_its_neighbours_their_answers(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, files={"good": coffee(), "broken": coffee()[:5000], "text": b"hello"})

    good, broken, text = response.json()["predictions"]
    assert response.status_code == 200
    assert good["labels"][0]["label"] == ESPRESSO
    assert broken["error"]["status"] == 422
    assert text["error"]["status"] == 415


def test_a_version_can_be_asked_by_its_number(inference: httpx.Client) -> None:
    response = inference.post(f"{PREDICT}/1.0.0", content=coffee())

    assert response.json()["version"] == "1.0.0"


def test_an_explanation_adds_where_the_model_looked(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee())

    heatmap = Image.open(io.BytesIO(base64.b64decode(response.json()["predictions"][0]["heatmap_png"])))
    values_HW = np.asarray(heatmap)
    assert first_label(response)[0] == ESPRESSO
    assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", (224, 224))
    # The cup stands in the middle of this photo, the corners show the table.
    assert values_HW[84:140, 84:140].mean() > 2 * values_HW[:28, :28].mean()


def test_an_explanation_may_be_the_picture_itself(inference: httpx.Client) -> None:
    response = inference.post(EXPLAIN, content=coffee(), headers={"Accept": "image/png"})

    picture = Image.open(io.BytesIO(response.content))
    assert response.headers["content-type"] == "image/png"
    assert (picture.mode, picture.size) == ("RGB", (224, 224))


def test_a_prediction_has_no_heatmap(inference: httpx.Client) -> None:
    response = inference.post(PREDICT, content=coffee())

    assert "heatmap_png" not in response.json()["predictions"][0]
