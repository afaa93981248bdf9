"""The client against a server that answers, refuses, is busy, dies and comes back."""

import asyncio
import io
import time
from itertools import count
from typing import Any

import pytest
from fruity import AccessDenied, AsyncClient, Client, Label, PhotoRefused, Prediction, ServerError, Unavailable
from PIL import Image

from tests.client.answers_of_a_server import RecordingAnswer, answer_photo, refuse
from tests.http_server import Request, serve_http
from tests.pictures import draw_waves, encode


def answer_in_turn(*answers: Any) -> Any:
    """Return an answer for `serve_http`: the first of *answers* first, the last one from then on."""
    numbers = count()
    return lambda request: answers[min(next(numbers), len(answers) - 1)]


def test_a_photo_gets_its_labels() -> None:
    with serve_http(lambda request: (200, answer_photo())) as url, Client(url) as client:
        prediction = client.predict(b"photo")

    assert prediction == Prediction(
        version="1.2.3", labels=(Label("banana", 0.75), Label("fig", 0.01)), confident=True, unfamiliar=None
    )
    assert (prediction.best.label, prediction.verdict) == ("banana", "confident")


@pytest.mark.parametrize(
    ("members", "verdict"),
    [({"confident": False}, "unsure"), ({"confident": False, "unfamiliar": True}, "unfamiliar")],
)
def test_a_photo_that_the_model_does_not_know_is_called_so(members: dict[str, Any], verdict: str) -> None:
    with serve_http(lambda request: (200, answer_photo(**members))) as url, Client(url) as client:
        assert client.predict(b"photo").verdict == verdict


def test_key_version_and_number_of_labels_are_sent() -> None:
    answer = RecordingAnswer()

    with serve_http(answer) as url, Client(f"{url}/prefix", key="secret", version="2.0.0", top_k=3) as client:
        client.predict(b"photo")

    assert (answer.requests[0].method, answer.requests[0].path, answer.requests[0].body) == (
        "POST",
        "/prefix/predictions/fruity/2.0.0",
        b"photo",
    )
    assert (answer.requests[0].headers["x-api-key"], answer.requests[0].headers["x-top-k"]) == ("secret", "3")


def test_photos_are_sent_with_twice_the_side_that_the_network_sees() -> None:
    answer = RecordingAnswer()
    photo = encode(draw_waves(1000, 800), "JPEG")

    with serve_http(answer) as url, Client(url) as client, Client(url, original=True) as unscaled:
        client.predict(photo)
        unscaled.predict(photo)

    sent, original = (request.body for request in answer.requests)
    assert Image.open(io.BytesIO(sent)).size == (560, 448)
    assert original == photo


def test_the_time_of_each_stage_is_read() -> None:
    timing = {"Server-Timing": "decode;dur=3.25, inference;dur=4, cache;desc=x"}

    with serve_http(lambda request: (200, answer_photo(), timing)) as url, Client(url) as client:
        assert client.predict(b"photo").timing_ms == {"decode": 3.25, "inference": 4.0}


def test_the_description_names_the_labels() -> None:
    with serve_http(RecordingAnswer()) as url, Client(url) as client:
        assert client.describe().labels == ("banana", "fig")


def test_an_explanation_has_the_heatmap() -> None:
    with serve_http(lambda request: (200, answer_photo(heatmap_png="iVBORw=="))) as url, Client(url) as client:
        explanation = client.explain(b"photo")

    assert explanation.heatmap_png == b"\x89PNG"
    assert explanation.prediction.best.label == "banana"


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (refuse(415, "this is a PDF"), PhotoRefused, "this is a PDF"),
        ((500, {"code": 500, "message": "Internal"}), PhotoRefused, "Internal"),
        (refuse(401, "the key is wrong"), AccessDenied, "the key is wrong"),
        (refuse(404, "not served"), ServerError, "not served"),
        ((200, b"<html>welcome</html>"), ServerError, "<html>welcome</html>"),
        ((200, {"predictions": []}), ServerError, "predictions"),
        ((200, {"predictions": [{"labels": []}]}), ServerError, "without a label"),
        ((403, b"<html>proxy</html>"), AccessDenied, "<html>proxy</html>"),
    ],
)
def test_a_refusal_raises_its_own_error_with_the_reason(answer: Any, error: type[Exception], words: str) -> None:
    with serve_http(lambda request: answer) as url, Client(url) as client, pytest.raises(error) as caught:
        client.predict(b"photo")

    assert type(caught.value) is error
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "busy",
    [
        (503, {"detail": "busy"}, {"Retry-After": "0"}),
        (429, b"slow down", {"Retry-After": "0.01"}),
        (502, b"<html>bad gateway</html>"),
        (500, {"code": 500, "message": "Worker died."}),
    ],
)
def test_a_busy_server_is_asked_again(busy: Any) -> None:
    answer = answer_in_turn(busy, busy, (200, answer_photo()))

    with serve_http(answer) as url, Client(url) as client:
        assert client.predict(b"photo").best.label == "banana"


@pytest.mark.parametrize("patience_s", [0.0, 0.2])
def test_a_server_that_stays_busy_raises_when_patience_ends(patience_s: float) -> None:
    with (
        serve_http(lambda request: (503, {"detail": "all workers are busy"})) as url,
        Client(url, patience_s=patience_s) as client,
        pytest.raises(Unavailable, match="all workers are busy"),
    ):
        client.predict(b"photo")


def test_an_address_where_nothing_ever_answered_fails_at_once() -> None:
    with serve_http(lambda request: None) as url:
        pass

    with Client(url, patience_s=3600) as client, pytest.raises(Unavailable, match=url):
        client.predict(b"photo")


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://127.0.0.1:80a"])
def test_what_is_not_an_address_is_named(url: str) -> None:
    with pytest.raises(ServerError, match="http://host:port"), Client(url, patience_s=3600) as client:
        client.predict(b"photo")


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        Client(key=key)

    assert key not in str(caught.value)


def test_a_key_may_end_with_the_newline_of_its_file() -> None:
    with (
        serve_http(lambda request: (200, answer_photo(request.headers["x-api-key"]))) as url,
        Client(url, key="secret\n") as client,
    ):
        assert client.predict(b"photo").best.label == "secret"


def test_a_server_that_wants_to_be_asked_in_an_hour_does_not_outlast_the_patience() -> None:
    started = time.monotonic()

    with (
        serve_http(lambda request: (503, {"detail": "busy"}, {"Retry-After": "3600"})) as url,
        Client(url, patience_s=0.2) as client,
        pytest.raises(Unavailable, match="busy"),
    ):
        client.predict(b"photo")

    assert time.monotonic() - started < 60


def test_each_photo_gets_its_own_answer_when_the_server_is_restarted_in_between() -> None:
    photos = [f"{number}".encode() for number in range(100)]

    with serve_http(lambda request: (200, answer_photo(request.body.decode()))) as url:
        client = Client(url, patience_s=30)
        answers = client.predict_many(photos, concurrency=4)
        said = [next(answers) for _ in range(50)]
    with serve_http(lambda request: (200, answer_photo(request.body.decode())), int(url.rpartition(":")[2])), client:
        said += list(answers)

    labels = [answer.best.label for _, answer in said if isinstance(answer, Prediction)]
    assert [photo for photo, _ in said] == [label.encode() for label in labels] == photos


def test_a_refused_photo_does_not_stop_the_others() -> None:
    def answer(request: Request) -> Any:
        return refuse(422, "too small") if request.body == b"1" else (200, answer_photo())

    with serve_http(answer) as url, Client(url) as client:
        answers = [answered for _, answered in client.predict_many([b"0", b"1", b"2"])]

    assert [type(answered) for answered in answers] == [Prediction, PhotoRefused, Prediction]


def test_a_request_that_is_too_long_for_torchserve_refuses_its_photo_alone() -> None:
    with serve_http(lambda request: (413, b"")) as url, Client(url) as client:
        [(_, answer)] = client.predict_many([b"photo"])

    assert isinstance(answer, PhotoRefused)
    assert answer.status == 413
    assert answer.detail


def test_a_wrong_key_ends_the_work() -> None:
    with serve_http(lambda request: refuse(401, "wrong")) as url, Client(url) as client, pytest.raises(AccessDenied):
        list(client.predict_many([b"0"] * 100))


def test_the_asynchronous_client_answers_the_same() -> None:
    async def ask(url: str) -> tuple[str, list[str]]:
        async with AsyncClient(url) as client:
            one = await client.predict(b"photo")
            many = [answer async for _, answer in client.predict_many([b"a", b"b"])]
            return one.best.label, [answer.best.label for answer in many if isinstance(answer, Prediction)]

    with serve_http(lambda request: (200, answer_photo(request.body.decode()))) as url:
        assert asyncio.run(ask(url)) == ("photo", ["a", "b"])


def test_an_asynchronous_run_can_be_cancelled_while_an_answer_is_awaited() -> None:
    def answer(_: Request) -> Any:
        time.sleep(0.5)
        return 200, answer_photo()

    async def ask(url: str) -> None:
        async with AsyncClient(url) as client, asyncio.timeout(0.1):
            async for _ in client.predict_many([b"a", b"b"]):
                pass

    with serve_http(answer) as url, pytest.raises(TimeoutError):
        asyncio.run(ask(url))
