import os
from pathlib import Path

import pytest

from serving.rollout.comparison import Answer, Pair, measure, recent_photos
from serving.rollout.label_change import LabelChange
from serving.rollout.record import RolloutError
from serving.rollout.thresholds import check, read_thresholds

OLD = Answer(200, 0.010, "apple", 0.9)
LABELS = LabelChange.between(["apple", "Bell Pepper", "soup"], ["apple", "bell-pepper", "melon"], {})


def compare(*answers: Answer, old: Answer = OLD) -> dict[str, float]:
    pairs = [
        Pair(f"photo {number}", old, new, LABELS.agree(old.label, new.label)) for number, new in enumerate(answers)
    ]
    return check(measure(pairs, read_thresholds(), min_agreement=0.85, max_shift=0.15))


def test_equal_answers_break_no_threshold() -> None:
    assert compare(OLD, OLD) == {"error_rate": 0, "agreement": 1, "latency_ratio": 1, "confidence_shift": 0}


def test_every_broken_threshold_is_named_with_value_and_limit() -> None:
    broken = r"error_rate is 0\.5, .* 0; latency_ratio is 5, .* 2; agreement is 0, .* 0\.85; confidence_shift is 0\.5, "

    with pytest.raises(RolloutError, match=broken):
        compare(Answer(200, 0.05, "bell-pepper", 0.4), Answer(503, 0.05))


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
    assert Pair("photo", old, new, None).new_failed is failed


def test_without_answers_of_both_only_the_error_rate_is_a_figure() -> None:
    assert compare(Answer(415, 0.1), old=Answer(415, 0.1)) == {"error_rate": 0}


@pytest.mark.parametrize(
    ("num_known", "num_unknown", "compared"),
    [(1, 0, True), (5, 95, True), (4, 96, False), (0, 1, False)],
    ids=["all labels are known", "enough are", "too few are", "none is"],
)
def test_agreement_and_confidence_are_of_photos_for_which_both_versions_can_agree(
    num_known: int, num_unknown: int, compared: bool
) -> None:
    unknown = Answer(200, 0.01, "melon", 0.1)

    figures = compare(*[OLD] * num_known, *[unknown] * num_unknown)

    assert (figures.get("agreement"), figures.get("confidence_shift")) == ((1, 0) if compared else (None, None))
    assert (figures["error_rate"], figures["latency_ratio"]) == (0, 1)


def test_a_label_that_is_spelled_otherwise_is_the_same_label() -> None:
    assert compare(Answer(200, 0.01, "bell-pepper", 0.9), old=OLD._replace(label="Bell Pepper"))["agreement"] == 1


@pytest.mark.parametrize("probability", [0.8, 1.0])
def test_confidence_may_shift_up_or_down(probability: float) -> None:
    assert compare(Answer(200, 0.01, "apple", probability))["confidence_shift"] == 0.1


def test_the_newest_photos_of_a_folder_are_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "folder").mkdir()

    assert recent_photos(tmp_path, 2) == [("middle", b"middle"), ("new", b"new")]


@pytest.mark.parametrize("text", [None, b"error_rate: 2", b"surprise: 1", b"{", b"\xff\xd8"])
def test_thresholds_that_cannot_be_used_are_refused(tmp_path: Path, text: bytes | None) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_bytes(text)

    with pytest.raises(RolloutError, match=r"mine\.yaml"):
        read_thresholds(tmp_path / "mine.yaml")
