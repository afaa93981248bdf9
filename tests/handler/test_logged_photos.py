"""What the handler gives to the prediction log."""

import json
from pathlib import Path

import pytest

from tests.handler.worker import Worker, first_labels, instances, raw


def test_each_photo_that_was_answered_is_logged_with_its_place_in_the_request(
    default_folder: Path, coffee: bytes, cat: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREDICTION_LOG", str(tmp_path))
    worker = Worker(default_folder)

    worker.answer(
        raw(b"text"), instances(cat, b"", coffee), raw(coffee, **{"X-Request-Id": "mine"}), raw(cat, explain="True")
    )

    (path,) = tmp_path.iterdir()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["id"], line["labels"][0][0]) for line in lines] == [
        ("request-1/0", "not food"),
        ("request-1/2", "espresso"),
        ("mine/0", "espresso"),
        ("request-3/0", "not food"),
    ]
    assert [(line["width"], line["height"], line["media_type"]) for line in lines[:2]] == [
        (451, 300, "image/png"),
        (600, 400, "image/png"),
    ]
    assert (lines[1]["bytes"], lines[1]["version"]) == (len(coffee), "1.2.3")
    statistics = lines[1]["statistics"]
    assert statistics["confidence"] == lines[1]["labels"][0][1] > 0.8
    assert 0.0 < statistics["entropy"] < 0.3
    assert 0.3 < statistics["brightness"] < 0.5


def test_a_probe_is_answered_and_not_logged(
    default_folder: Path, coffee: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREDICTION_LOG", str(tmp_path))
    worker = Worker(default_folder)

    (probe,) = worker.answer(raw(coffee, **{"X-Probe": "readiness"}))

    assert first_labels(probe) == ["espresso"]
    assert not list(tmp_path.iterdir())
