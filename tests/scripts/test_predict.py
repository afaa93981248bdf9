import sys
from pathlib import Path

import httpx
import pytest

from scripts import predict
from scripts.predict import PredictError, ask, format_answer

URL = "http://server/predictions/fruity"
ANSWER = {
    "model": "fruity",
    "version": "1.2.3",
    "predictions": [
        {
            "photo": "body",
            "labels": [{"label": "banana", "probability": 0.75}, {"label": "fig", "probability": 0.01}],
            "confident": True,
        }
    ],
}


def ask_server(response: httpx.Response | None) -> object:
    def answer(request: httpx.Request) -> httpx.Response:
        if response is None:
            raise httpx.ConnectError("refused")
        return response

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        return ask(client, URL, b"photo")


def test_the_servers_answer_is_returned() -> None:
    assert ask_server(httpx.Response(200, json=ANSWER)) == ANSWER


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(415, json={"detail": "no image"}), "415: no image"),
        (httpx.Response(404, json={"code": 404, "message": "Model not found"}), "404: Model not found"),
        (httpx.Response(502, text="<html>bad gateway</html>"), "502: <html>bad gateway</html>"),
        (None, "refused.*`make serve`"),
    ],
)
def test_a_failure_has_the_address_and_the_reason(response: httpx.Response | None, reason: str) -> None:
    with pytest.raises(PredictError, match=f"{URL}.*{reason}"):
        ask_server(response)


def test_an_answer_is_a_line_a_label_with_a_bar_as_long_as_it_is_probable() -> None:
    head, first, second = format_answer("a.jpg", ANSWER).splitlines()

    assert head == "a.jpg  (fruity 1.2.3)"
    assert first.split() == ["75.0%", "banana", "█" * 30]
    assert second.split() == ["1.0%", "fig"]


def test_an_answer_that_is_not_confident_is_marked_unsure() -> None:
    unsure = {**ANSWER, "predictions": [{"labels": [], "confident": False}]}

    assert format_answer("a.jpg", unsure) == "a.jpg  (fruity 1.2.3, unsure)"


def test_a_photo_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["predict", str(tmp_path / "missing.jpg")])

    with pytest.raises(SystemExit, match=r"^predict: .*missing\.jpg"):
        predict.main()
