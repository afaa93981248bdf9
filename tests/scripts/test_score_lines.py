from pathlib import Path

import pytest

from scoring import score_progress
from scoring.scoring_run import ScoringRequest, Summary
from scripts.score import describe, parse_arguments

REQUEST = ScoringRequest("photos", "scores", "parquet", Path("fruity-1.0.0.mar"))


def test_without_a_terminal_a_line_says_how_long_the_rest_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_progress, "LINE_S", 0.0)

    with score_progress.shown_progress() as progress:
        progress.start(300, 100)
        progress.advance(128)

    assert capsys.readouterr().err.splitlines() == [
        "score: 300 photos, 100 of them scored before",
        "score: 228 of 300 photos, 0 s left",
    ]


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (
            Summary("1.0.0", 2_000, 500, num_errors=15, num_retries=2, num_actors=2, seconds=10.0),
            "score: 1,500 photos (500 were scored before), 15 of them errors, 150.0 photos/s on 2 actors; "
            "scores has the rows of 2,000 photos by version 1.0.0; "
            "2 could not be read or scored, the same command tries their parts again",
        ),
        (
            Summary("1.0.0", 9, 9),
            "score: nothing was left to score; scores has the rows of 9 photos by version 1.0.0",
        ),
    ],
)
def test_the_last_line_has_photos_errors_rate_and_place(summary: Summary, line: str) -> None:
    assert describe(summary, REQUEST) == line


def test_one_folder_has_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    given = parse_arguments(["photos/", "gs://bucket/scores/"])

    assert (given.source, given.destination) == (str(tmp_path / "photos"), "gs://bucket/scores")


@pytest.mark.parametrize("words", [["", "scores"], ["a", "b", "--actors", "0"], ["a", "b", "--format", "csv"]])
def test_wrong_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(words)
