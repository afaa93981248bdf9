import sys
from pathlib import Path
from typing import Any

import pytest

from scripts import predict
from tests.http_server import serve_http

ANSWER: dict[str, Any] = {
    "model": "fruity",
    "version": "1.2.3",
    "predictions": [
        {
            "photo": "body",
            "labels": [{"label": "banana", "probability": 0.75}, {"label": "fig", "probability": 0.01}],
            "confident": False,
        }
    ],
}


def run(monkeypatch: pytest.MonkeyPatch, url: str, photo: Path) -> None:
    photo.write_bytes(b"photo")
    monkeypatch.setattr(sys, "argv", ["predict", str(photo), "--url", url])
    predict.main()


def test_the_labels_of_a_photo_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_http(lambda request: (200, ANSWER)) as url:
        run(monkeypatch, url, tmp_path / "a.jpg")

    head, first, second = capsys.readouterr().out.splitlines()
    assert head == "a.jpg  (fruity 1.2.3, unsure)"
    assert first.split() == ["75.0%", "banana", "█" * 30]
    assert second.split() == ["1.0%", "fig"]


def test_an_unfamiliar_photo_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {**ANSWER, "predictions": [{**ANSWER["predictions"][0], "unfamiliar": True, "unfamiliarity": 1.5}]}

    with serve_http(lambda request: (200, answer)) as url:
        run(monkeypatch, url, tmp_path / "a.jpg")

    assert capsys.readouterr().out.startswith("a.jpg  (fruity 1.2.3, unfamiliar)\n")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ((415, {"detail": "no image"}), "415: no image"),
        ((404, {"code": 404, "message": "Model not found"}), "404: Model not found"),
        ((502, b"<html>bad gateway</html>"), "502: <html>bad gateway</html>"),
    ],
)
def test_a_refusal_has_the_address_and_the_reason(
    response: tuple[int, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_http(lambda request: response) as url, pytest.raises(SystemExit, match=f"^predict: {url} .*{reason}"):
        run(monkeypatch, url, tmp_path / "a.jpg")


def test_a_server_or_a_photo_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"^predict: .*http://127\.0\.0\.1:9/ .*`make serve`"):
        run(monkeypatch, "http://127.0.0.1:9/", tmp_path / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(SystemExit, match=r"^predict: .*a\.jpg"):
        predict.main()
