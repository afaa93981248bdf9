import pytest

from training import progress
from training.progress import format_left, print_line, show_progress, track


def test_a_line_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("runs/[bold]green[/bold] :smile:")

    assert capsys.readouterr() == ("", "runs/[bold]green[/bold] :smile:\n")


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)

    with show_progress("Downloading", 2000, "bytes", done=500) as advance:
        advance(700)
        advance(800)

    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("Downloading: 1,200 of 2,000 bytes, ")
    assert last.startswith("Downloading: 2,000 of 2,000 bytes, done in ")


@pytest.mark.parametrize(
    ("photos", "line"), [("abc", "Inspecting: 3 of 3 photos, done in 0 s\n"), (iter("abc"), "")], ids=["known", "not"]
)
def test_a_short_step_gets_one_line_in_a_log_where_its_length_is_known(
    photos: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(track(photos, "Inspecting", "photos")) == ["a", "b", "c"]

    assert capsys.readouterr() == ("", line)


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
