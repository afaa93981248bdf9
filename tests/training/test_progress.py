from collections.abc import Callable, Iterator

import pytest

from training.progress import format_left, track


def ticking(step_s: float) -> Callable[[], float]:
    """Return a clock that advances by *step_s* at each reading."""
    times: Iterator[float] = (step_s * reading for reading in range(1000))
    return lambda: next(times)


@pytest.mark.parametrize(
    ("step_s", "lines"),
    [
        (1.0, ["photos: 4 of 4, done in 4 s"]),
        (
            40.0,
            [
                "photos: 1 of 4, 2 min left",
                "photos: 2 of 4, 80 s left",
                "photos: 3 of 4, 40 s left",
                "photos: 4 of 4, done in 3 min",
            ],
        ),
    ],
)
def test_a_log_gets_a_line_every_half_minute_and_one_at_the_end(
    step_s: float, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(track("abcd", "photos", clock=ticking(step_s))) == list("abcd")

    printed = capsys.readouterr()
    assert printed.err.splitlines() == lines
    assert printed.out == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    assert list(track("ab", "photos")) == ["a", "b"]
    assert "\x1b" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("done", "text"), [(10, "90 s left"), (50, "10 s left"), (1, "16 min left"), (100, "done in 10 s")]
)
def test_the_time_left_follows_from_the_speed_so_far(done: int, text: str) -> None:
    assert format_left(10.0, done, 100) == text
