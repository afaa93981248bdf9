import base64
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from handler.observation import Observation
from handler.prediction_log import LoggedPrediction, LogSettings, PredictionLog, read_log_settings
from handler.settings import SettingsError
from tests.handler.observations import APPLE, UNSURE_APPLE, observe
from tests.specs import make_spec


def open_log(folder: Path, share: float = 1.0, *, keep_photos: bool = False) -> PredictionLog:
    return PredictionLog(LogSettings(folder, share, 10_000_000, keep_photos), "1.2.3", make_spec())


def read_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def numbered(*photos: Observation) -> list[tuple[int, Observation]]:
    return list(enumerate(photos))


def test_a_line_says_what_came_in_and_what_the_model_said(tmp_path: Path) -> None:
    coordinates_R = np.array([0.5, -0.25, 1.0], dtype="<f2")
    prediction = APPLE._replace(unfamiliarity=0.4, embedding=coordinates_R.tobytes())
    before = datetime.now(UTC)

    open_log(tmp_path).write("request-7", [(2, observe(prediction, b"a photo"))])

    (line,) = read_lines(tmp_path)
    assert before - timedelta(seconds=1) < datetime.fromisoformat(line.pop("time")) < before + timedelta(seconds=60)
    assert base64.b64decode(line.pop("embedding")) == coordinates_R.tobytes()
    assert line == {
        "schema": 1,
        "id": "request-7/2",
        "version": "1.2.3",
        "digest": hashlib.sha256(b"a photo").hexdigest(),
        "labels": [["apple", 0.7], ["banana", 0.1], ["cherry", 0.1]],
        "confident": True,
        "width": 640,
        "height": 480,
        "bytes": 7,
        "media_type": "image/jpeg",
        "statistics": {
            "confidence": 0.7,
            "entropy": 0.25,
            "unfamiliarity": 0.4,
            "brightness": 0.5,
            "contrast": 0.125,
            "sharpness": 0.0625,
            "anisotropy": 0.5,
        },
    }


def test_an_archive_that_cannot_tell_unfamiliar_photos_logs_neither_score_nor_embedding(tmp_path: Path) -> None:
    open_log(tmp_path).write("id", numbered(observe(APPLE)))

    (line,) = read_lines(tmp_path)
    assert "embedding" not in line
    assert "unfamiliarity" not in line["statistics"]


def test_a_line_is_read_back_with_its_embedding_and_takes_less_than_a_kilobyte(tmp_path: Path) -> None:
    embedding = np.linspace(-1, 1, 96).astype("<f2").tobytes()
    prediction = UNSURE_APPLE._replace(unfamiliarity=1.234567, embedding=embedding)

    open_log(tmp_path).write("f" * 64, numbered(observe(prediction, entropy=0.123456)))

    (path,) = tmp_path.glob("*.jsonl")
    line = msgspec.json.decode(path.read_bytes(), type=LoggedPrediction)
    assert (line.embedding, line.labels[0], line.confident) == (embedding, ("apple", 0.4), False)
    assert line.statistics.unfamiliarity == 1.234567
    assert path.stat().st_size < 1000


def test_a_share_of_the_photos_is_logged_the_same_ones_in_every_log(tmp_path: Path) -> None:
    photos = numbered(*(observe(APPLE, f"photo {number}".encode()) for number in range(400)))

    outcomes = [open_log(tmp_path / name, share=0.25).write("id", photos) for name in ("first", "second")]

    digests = [{line["digest"] for line in read_lines(tmp_path / name)} for name in ("first", "second")]
    assert digests[0] == digests[1]
    assert 70 < len(digests[0]) < 130
    assert outcomes[0] == ["written"] * len(digests[0])


def test_a_share_of_nothing_logs_nothing(tmp_path: Path) -> None:
    assert open_log(tmp_path, share=0.0).write("id", numbered(observe(APPLE))) == []
    assert not list(tmp_path.iterdir())


def test_photos_are_kept_as_the_model_gets_them_each_once(tmp_path: Path) -> None:
    log = open_log(tmp_path, keep_photos=True)

    log.write("id", numbered(observe(APPLE, b"one", side=32), observe(APPLE, b"one", side=32), observe(APPLE, b"two")))

    names = {f"{hashlib.sha256(photo).hexdigest()}.webp" for photo in (b"one", b"two")}
    assert {path.name for path in (tmp_path / "photos").iterdir()} == names
    kept = Image.open(io.BytesIO((tmp_path / "photos" / f"{hashlib.sha256(b'one').hexdigest()}.webp").read_bytes()))
    assert kept.size == (32, 32)
    assert kept.getpixel((3, 3)) == pytest.approx((128, 128, 128), abs=2)


def test_photos_are_not_kept_unless_asked_for(tmp_path: Path) -> None:
    open_log(tmp_path).write("id", numbered(observe(APPLE)))

    assert [path.suffix for path in tmp_path.iterdir()] == [".jsonl"]


def test_a_folder_that_cannot_be_written_drops_photos_with_one_warning_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "log").write_text("a file where the folder would be")
    log = open_log(tmp_path / "log")
    clock = iter([100.0, 100.0, 159.0, 161.0, 161.0])
    monkeypatch.setattr("handler.prediction_log.time.monotonic", lambda: next(clock))

    outcomes = [log.write("id", numbered(observe(APPLE), observe(APPLE))) for _ in range(3)]

    assert outcomes == [["dropped", "dropped"]] * 3
    warnings = [message for message in caplog.messages if "the prediction log cannot be written" in message]
    assert len(warnings) == 2


def test_a_log_goes_on_when_its_folder_can_be_written_again(tmp_path: Path) -> None:
    obstacle = tmp_path / "log"
    obstacle.write_text("a file where the folder would be")
    log = open_log(obstacle)

    before = log.write("id", numbered(observe(APPLE)))
    obstacle.unlink()
    after = log.write("id", numbered(observe(APPLE)))

    assert (before, after) == (["dropped"], ["written"])
    assert len(read_lines(obstacle)) == 1


def test_without_a_folder_there_is_no_log() -> None:
    assert read_log_settings({}) is None
    assert read_log_settings({"PREDICTION_LOG": " ", "PREDICTION_LOG_SHARE": "0.5"}) is None


def test_settings_have_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    assert read_log_settings({"PREDICTION_LOG": "log"}) == LogSettings(tmp_path / "log", 1.0, 100_000_000, False)
    given = {"PREDICTION_LOG_SHARE": "0.1", "PREDICTION_LOG_MB": "5", "PREDICTION_LOG_PHOTOS": "1"}
    assert read_log_settings({"PREDICTION_LOG": "/log", **given}) == LogSettings(Path("/log"), 0.1, 5_000_000, True)


@pytest.mark.parametrize(("share", "megabytes"), [("0", "1"), ("1", "1000000")])
def test_the_ends_of_a_range_belong_to_it(share: str, megabytes: str) -> None:
    given = {"PREDICTION_LOG": "/log", "PREDICTION_LOG_SHARE": share, "PREDICTION_LOG_MB": megabytes}

    assert read_log_settings(given) == LogSettings(Path("/log"), float(share), int(megabytes) * 1_000_000, False)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("PREDICTION_LOG_SHARE", "2", "from 0 to 1"),
        ("PREDICTION_LOG_SHARE", "nan", "from 0 to 1"),
        ("PREDICTION_LOG_SHARE", "half", "from 0 to 1"),
        ("PREDICTION_LOG_MB", "0", "from 1 to 1000000"),
        ("PREDICTION_LOG_PHOTOS", "yes", "0 or 1"),
        ("PREDICTION_LOG_PHOTOS", "0.5", "0 or 1"),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}', it must be .*{allowed}"):
        read_log_settings({"PREDICTION_LOG": "/log", name: value})
