import os
from pathlib import Path

import pytest

from serving.rollout.comparison import Answer, Pair, measure, recent_photos
from serving.rollout.record import RolloutError
from serving.rollout.thresholds import check, read_thresholds

OLD = Answer(200, 0.010, "apple", 0.9)


def compare(*answers: Answer, old: Answer = OLD) -> dict[str, float]:
    pairs = [Pair("photo", old, new) for new in answers]
    return check(measure(pairs, read_thresholds(), min_agreement=0.85, max_shift=0.15))


def test_equal_answers_break_no_threshold() -> None:
    assert compare(OLD, OLD) == {"error_rate": 0, "agreement": 1, "latency_ratio": 1, "confidence_shift": 0}


def test_every_broken_threshold_is_named_with_value_and_limit() -> None:
    broken = r"error_rate is 0\.5, .* 0; agreement is 0, .* 0\.85; latency_ratio is 5, .* 2; confidence_shift is 0\.5, "

    with pytest.raises(RolloutError, match=broken):
        compare(Answer(200, 0.05, "pear", 0.4), Answer(503, 0.05))


@pytest.mark.parametrize(
    ("old", "new", "failed"),
    [
        (OLD, Answer(503, 0.1), True),
        (OLD, Answer(0, 0.1), True),
        (OLD, Answer(415, 0.1), True),
        (Answer(415, 0.1), Answer(415, 0.1), False),
        (Answer(415, 0.1), Answer(503, 0.1), True),
        (Answer(503, 0.1), OLD, False),
    ],
)
def test_a_new_version_fails_where_it_refuses_what_the_old_one_answers(old: Answer, new: Answer, failed: bool) -> None:
    assert Pair("photo", old, new).new_failed is failed


def test_without_answers_of_both_only_the_error_rate_is_a_figure() -> None:
    assert compare(Answer(415, 0.1), old=Answer(415, 0.1)) == {"error_rate": 0}


@pytest.mark.parametrize("probability", [0.8, 1.0])
def test_confidence_may_shift_up_or_down(probability: float) -> None:
    assert compare(Answer(200, 0.01, "apple", probability))["confidence_shift"] == 0.1


def test_the_newest_photos_of_a_folder_are_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "folder").mkdir()

    assert recent_photos(tmp_path, 2) == [("middle", b"middle"), ("new", b"new")]


@pytest.mark.parametrize("text", [None, "error_rate: 2", "surprise: 1", "{"])
def test_thresholds_that_cannot_be_used_are_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(RolloutError, match=r"mine\.yaml"):
        read_thresholds(tmp_path / "mine.yaml")
