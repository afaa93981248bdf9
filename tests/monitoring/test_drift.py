"""The command, on logs and archives as a server and training write them."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from handler.prediction_log import LoggedPrediction
from monitoring.drift import main
from serving.model_store import edit_archive
from tests.archives import write_archive
from tests.monitoring.prediction_logs import (
    LABELS,
    START,
    draw_photos,
    log_photo,
    write_log,
    write_watched_archive,
)


class Said(NamedTuple):
    code: int
    lines: list[str]
    error: str


class Drift:
    """Runs `python -m monitoring.drift` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, archive: Path, log: Path, *options: str) -> Said:
        command = ["drift", "--archive", str(archive), "--log", str(log), *options]
        self._monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stop:
            main()
        printed = self._capsys.readouterr()
        return Said(int(stop.value.code or 0), printed.out.splitlines(), printed.err)


@pytest.fixture
def find_drift(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Drift:
    return Drift(monkeypatch, capsys)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_watched_archive(tmp_path_factory.mktemp("archives") / "fruity-1.1.0.mar")


def test_photos_like_those_of_val_are_no_drift(archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    said = find_drift(archive, write_log(tmp_path / "a.jsonl", draw_photos(450, seed=1)))

    assert said.code == 0
    assert said.lines[0].startswith("fruity 1.1.0: the latest of 3 windows of 200 photos, 2026-11-26 12:10 to")
    assert said.lines[-1].startswith("no drift")


def test_the_latest_window_decides(archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    usual, dark = draw_photos(200, seed=1), draw_photos(200, seed=2, first=200, brightness=-0.25)

    became_dark = find_drift(archive, write_log(tmp_path / "a.jsonl", usual + dark))
    was_dark = find_drift(archive, write_log(tmp_path / "a.jsonl", dark + draw_photos(200, seed=3, first=400)))

    assert (became_dark.code, was_dark.code) == (3, 0)
    assert became_dark.lines[-1].startswith("drift (photo shift): photos are darker (brightness 0.407 → 0.15")


@pytest.mark.parametrize("num_before", [50, 200, 261, 300, 399])
@pytest.mark.parametrize("shift", [{"brightness": -0.25}, {"confidence": -0.3}, {"anisotropy": -0.05}])
def test_200_photos_after_a_change_show_it_wherever_it_falls(
    num_before: int, shift: dict[str, float], archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    """Windows were cut from the oldest photo on: a change was found after 361 photos."""
    usual, changed = draw_photos(num_before, seed=1), draw_photos(200, seed=2, first=num_before, **shift)

    said = find_drift(archive, write_log(tmp_path / "a.jsonl", usual + changed))

    assert said.code == 3
    assert next(iter(shift)) in said.lines[-1]


def test_drift_that_does_no_harm_needs_no_night_call_but_is_drift(
    archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    harmless = find_drift(archive, write_log(tmp_path / "a.jsonl", draw_photos(200, seed=2, brightness=0.25)))
    harmful = find_drift(archive, write_log(tmp_path / "b.jsonl", draw_photos(200, seed=2, confidence=-0.3)))

    assert (harmless.code, harmful.code) == (3, 3)
    assert harmless.lines[-1].endswith("no night call is needed")
    assert "answers are less certain" in harmful.lines[-1]
    assert "accuracy falls (estimate -3" in harmful.lines[-1]


def test_what_the_log_has_beside_the_version_is_skipped_and_said(
    archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    photos = draw_photos(200, seed=1)
    jumped = log_photo(300, version="1.0.0", time=(START - timedelta(days=1)).isoformat())
    path = write_log(tmp_path / "a.jsonl", [*photos, jumped])
    path.write_bytes(path.read_bytes() + b'{"schema":1,"id":"cut o')

    said = find_drift(archive, path)

    assert said.code == 0
    assert said.lines[1:4] == [
        "1 photos of other versions are skipped",
        "1 lines are skipped: cut off, or of another schema",
        "the clock went back 1 times: windows are by time, so some may mix photos",
    ]


@pytest.mark.parametrize(
    ("photos", "reason"),
    [
        (draw_photos(57, seed=1), "57 photos of version 1.1.0, a window needs 200; wait for more, or use a smaller"),
        ([], "the log has 0 photos"),
        (
            [log_photo(number, version="2.0.0") for number in range(200)],
            "all 200 photos of the log are of other versions than the archive's 1.1.0",
        ),
        ([log_photo(number, label="mango") for number in range(200)], "labels that the archive of 1.1.0 lacks (mango)"),
        (
            [log_photo(number, embedding=b"\0\0") for number in range(200)],
            "do not have the 6 directions of the archive of 1.1.0",
        ),
    ],
)
def test_photos_that_cannot_be_compared_cannot_say(
    photos: list[LoggedPrediction], reason: str, archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    said = find_drift(archive, write_log(tmp_path / "a.jsonl", photos))

    assert said.code == 2
    assert reason in said.error


def test_an_archive_without_a_reference_cannot_say(tmp_path: Path, find_drift: Drift) -> None:
    said = find_drift(write_archive(tmp_path / "fruity-1.1.0.mar"), tmp_path)

    assert said.code == 2
    assert "fruity-1.1.0.mar has no drift reference" in said.error


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("spec.json", b'{"schema": 99}', "schema 99 is newer than this fruity reads"),
        ("reference.npz", b"PK\x03\x04 cut off", "reference.npz cannot be read"),
        ("familiarity.npz", b"PK\x03\x04 cut off", "familiarity.npz cannot be read"),
    ],
)
def test_an_archive_with_a_damaged_or_newer_member_cannot_say(
    member: str, content: bytes, reason: str, archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    damaged = edit_archive(archive, tmp_path / archive.name, {member: lambda _: content})

    said = find_drift(damaged, tmp_path)

    assert said.code == 2
    assert reason in said.error


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken"])
def test_a_file_that_is_no_archive_cannot_say(content: bytes, tmp_path: Path, find_drift: Drift) -> None:
    (tmp_path / "fruity-1.1.0.mar").write_bytes(content)

    assert find_drift(tmp_path / "fruity-1.1.0.mar", tmp_path).code == 2


def test_paths_that_do_not_exist_cannot_say(archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    assert find_drift(tmp_path / "none.mar", tmp_path).code == 2
    assert find_drift(archive, tmp_path / "none").code == 2


@pytest.mark.parametrize("window", ["0", "49", "-5", "many"])
def test_a_window_that_is_too_small_is_refused(window: str, archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    said = find_drift(archive, tmp_path, f"--window={window}")

    assert said.code == 2
    assert "is not a number of photos from 50 on" in said.error


def test_more_windows_than_the_promise_is_for_are_said(archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    # A photo a minute is 10,080 a week, and a window begins every 25.
    said = find_drift(archive, write_log(tmp_path / "a.jsonl", draw_photos(12_000, seed=1)), "--window=50")

    assert "402 windows a week" in said.lines[1]
    assert "use --window 101" in said.lines[1]


def test_the_report_needs_no_other_file_and_shows_photos_that_were_kept(
    archive: Path, tmp_path: Path, find_drift: Drift
) -> None:
    photos = draw_photos(200, seed=1) + draw_photos(200, seed=2, first=200, brightness=-0.25)
    write_log(tmp_path / "log" / "a.jsonl", photos)
    darkest = min(photos[200:], key=lambda photo: photo.statistics.brightness)
    (tmp_path / "log" / "photos").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "log" / "photos" / f"{darkest.digest}.webp")

    find_drift(archive, tmp_path / "log", "--report", str(tmp_path / "drift.html"))

    page = (tmp_path / "drift.html").read_text()
    assert (
        page.index("<h1>fruity 1.1.0: drift</h1>") < page.index("photos are darker") < page.index("Windows over time")
    )
    assert page.count("data:image/webp") == 1
    assert page.count("data:image/svg+xml") == 4
    assert "http" not in page


def test_a_report_that_cannot_be_written_hides_no_drift(archive: Path, tmp_path: Path, find_drift: Drift) -> None:
    log = write_log(tmp_path / "a.jsonl", draw_photos(200, seed=2, brightness=-0.25))

    said = find_drift(archive, log, "--report", str(tmp_path / "absent" / "drift.html"))

    assert (said.code, said.error.partition(" cannot")[0]) == (3, f"no report: {tmp_path}/absent/drift.html")


def test_a_label_cannot_put_markup_into_the_report(tmp_path: Path, find_drift: Drift) -> None:
    labels = ("<script>alert(1)</script>", *LABELS[1:])
    archive = write_watched_archive(tmp_path / "fruity-1.1.0.mar", labels=labels)
    photos = [log_photo(number, label=labels[0]) for number in range(200)]

    find_drift(archive, write_log(tmp_path / "a.jsonl", photos), "--report", str(tmp_path / "drift.html"))

    page = (tmp_path / "drift.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
