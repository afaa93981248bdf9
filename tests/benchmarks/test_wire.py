import base64
import json

import pytest

from benchmarks.wire import Photo, Target, encode_request, read_label
from tests.benchmarks.answering import LABELS

PHOTO = Photo("a", b"\xff\xd8photo")


def split(request: bytes) -> tuple[list[str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_a_raw_request_is_the_photo_behind_its_head() -> None:
    head, body = split(encode_request(Target("http://127.0.0.1:8080/predictions/fruity"), PHOTO))

    assert head[0] == "POST /predictions/fruity HTTP/1.1"
    assert {"Host: 127.0.0.1:8080", "Content-Type: image/jpeg", "Content-Length: 7"} <= set(head)
    assert body == PHOTO.body


def test_a_json_request_holds_the_photo_in_base64() -> None:
    _, body = split(encode_request(Target("http://127.0.0.1:1/", form="json", field="image"), PHOTO))

    assert base64.b64decode(json.loads(body)["image"]) == PHOTO.body


def test_a_form_holds_the_photo_as_a_file_under_its_field() -> None:
    head, body = split(encode_request(Target("http://127.0.0.1:1/", form="multipart", field="file"), PHOTO))

    assert f"Content-Length: {len(body)}" in head
    assert b'name="file"; filename="photo.jpg"' in body
    assert b"\r\n\r\n" + PHOTO.body + b"\r\n--" in body


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (b'{"label": "espresso", "probability": 0.9}', "espresso"),
        (b'{"predictions": [{"photo": "body", "labels": [{"label": "not food"}, {"label": "espresso"}]}]}', "not food"),
        (b'{"espresso": 0.9, "not food": 0.1}', "espresso"),
        ('{"label": "crème brûlée"}'.encode(), "crème brûlée"),
        (b'{"label": "cr\\u00e8me br\\u00fbl\\u00e9e"}', "crème brûlée"),
        (b'{"label": "espresso machine"}', None),
        (b"espresso", None),
        (b"", None),
    ],
)
def test_the_first_label_of_the_model_in_an_answer_is_what_it_says(answer: bytes, label: str | None) -> None:
    assert read_label(answer, LABELS) == label
