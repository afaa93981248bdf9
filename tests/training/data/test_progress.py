import pytest

from training.data.progress import show_progress, track_progress


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress("Downloading", 2000, "bytes", done=500, line_every_s=0.0) as advance:
        advance(700)
        advance(800)
    assert capsys.readouterr().err.splitlines() == [
        "Downloading: 1,200 of 2,000 bytes",
        "Downloading: 2,000 of 2,000 bytes",
    ]


def test_a_short_step_prints_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track_progress("abc", "Inspecting", 3, "photos")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("unit", "total"), [("bytes", 10_000), ("photos", 3), ("files", None)])
def test_on_a_terminal_progress_is_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unit: str, total: int | None
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with show_progress("Unpacking", total, unit) as advance:
        advance(1)
    assert "━" in capsys.readouterr().err
