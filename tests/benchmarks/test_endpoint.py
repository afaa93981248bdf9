import base64
import json

import pytest

from benchmarks.endpoint import Endpoint, Photo, encode_photo, read_answer
from tests.benchmarks.labelling_server import LABELS

PHOTO = Photo("a", b"\xff\xd8photo")


def test_a_photo_is_sent_raw_in_json_or_in_a_form() -> None:
    raw, (as_json, json_type, _), (form, form_type, _) = (
        encode_photo(Endpoint("http://127.0.0.1:1/", form=form), PHOTO) for form in ("raw", "json", "multipart")
    )

    assert raw == (PHOTO.body, "image/jpeg", None)
    assert (base64.b64decode(json.loads(as_json)["photo"]), json_type) == (PHOTO.body, "application/json")
    assert form_type.startswith("multipart/form-data; boundary=")
    assert b'name="photo"; filename="photo.jpg"' in form
    assert b"\r\n\r\n" + PHOTO.body + b"\r\n--" in form


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        (b'{"predictions": [{"photo": "body", "labels": [{"label": "not food"}, {"label": "espresso"}]}]}', "not food"),
        (b'{"espresso": 0.9, "not food": 0.1}', "espresso"),
        ('{"label": "crème brûlée"}'.encode(), "crème brûlée"),
        (b'{"label": "cr\\u00e8me br\\u00fbl\\u00e9e"}', "crème brûlée"),
        (b'[{"label": "espresso machine"}]', None),
        (b"espresso", None),
        (b"", None),
    ],
)
def test_the_first_label_of_the_model_in_an_answer_is_the_predicted_one(answer: bytes, label: str | None) -> None:
    assert read_answer(answer, LABELS)[0] == label


@pytest.mark.parametrize(("answer", "version"), [(b'{"version": "1.0"}', "1.0"), (b'{"version": 1}', ""), (b"", "")])
def test_a_version_that_is_no_text_is_none(answer: bytes, version: str) -> None:
    assert read_answer(answer, LABELS)[1] == version
