import pytest

from training import progress
from training.progress import format_left, show_progress, track


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)

    with show_progress("Downloading", 2000, "bytes", done=500) as advance:
        advance(700)
        advance(800)

    printed = capsys.readouterr()
    assert [line.partition(", ")[0] + "," for line in printed.err.splitlines()] == [
        "Downloading: 1,",
        "Downloading: 2,",
    ]
    assert "1,200 of 2,000 bytes" in printed.err
    assert printed.out == ""


def test_a_short_step_of_a_known_length_gets_one_line_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "Inspecting", "photos")) == ["a", "b", "c"]

    assert capsys.readouterr().err == "Inspecting: 3 of 3 photos, done in 0 s\n"


def test_a_short_step_of_an_unknown_length_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "Unpacking", "files")) == ["a", "b", "c"]

    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("unit", "total"), [("bytes", 10_000), ("photos", 3), ("files", None)])
def test_a_terminal_gets_a_bar(
    unit: str, total: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    with show_progress("Unpacking", total, unit) as advance:
        advance(1)

    assert "━" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("done", "text"), [(10, "90 s left"), (50, "10 s left"), (1, "16 min left"), (100, "done in 10 s")]
)
def test_the_time_left_follows_from_the_speed_so_far(done: int, text: str) -> None:
    assert format_left(10.0, done, 100) == text
