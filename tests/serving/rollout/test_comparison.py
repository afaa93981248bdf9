import os
from pathlib import Path

import httpx
import pytest

from serving.rollout.comparison import CLIENT_SIZES, Answer, Comparison, Pair, ask, client_photos, recent_photos
from serving.rollout.record import RolloutError
from serving.rollout.thresholds import check, read_thresholds
from tests.serving.rollout.fake_torchserve import GOLDEN

THRESHOLDS = read_thresholds()
OLD = Answer(200, 0.010, "apple", 0.9)


def measure(*answers: Answer, old: Answer = OLD) -> dict[str, float]:
    comparison = Comparison(tuple(Pair("photo", old, new) for new in answers))
    figures = comparison.figures(THRESHOLDS, THRESHOLDS.shadow_agreement)
    return check([*figures, comparison.confidence_shift(THRESHOLDS)])


def test_equal_answers_break_no_threshold() -> None:
    assert measure(OLD, OLD) == {"error_rate": 0, "agreement": 1, "latency_ratio": 1, "confidence_shift": 0}


def test_every_broken_threshold_is_named_with_value_and_limit() -> None:
    with pytest.raises(RolloutError) as raised:
        measure(Answer(200, 0.05, "pear", 0.4), Answer(503, 0.05))

    assert str(raised.value) == (
        "error_rate is 0.5, allowed is at most 0; agreement is 0, allowed is at least 0.85; "
        "latency_ratio is 5, allowed is at most 2; confidence_shift is 0.5, allowed is at most 0.15"
    )


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
    assert measure(Answer(415, 0.1), old=Answer(415, 0.1)) == {"error_rate": 0}


@pytest.mark.parametrize(("probability", "shift"), [(0.8, 0.1), (1.0, 0.1)])
def test_confidence_may_shift_up_or_down(probability: float, shift: float) -> None:
    assert measure(Answer(200, 0.01, "apple", probability))["confidence_shift"] == shift


def test_a_server_that_does_not_answer_is_an_answer_without_label() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://server") as client:
        answer = ask(client, "1.0.0", b"photo")

    assert (answer.status, answer.label) == (0, None)


def test_photos_have_the_sizes_that_clients_send() -> None:
    names = [name for name, _ in client_photos(GOLDEN[:1])]

    assert names == [f"golden 1 at {width}x{height}" for width, height in CLIENT_SIZES]


def test_the_newest_photos_of_a_folder_are_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "folder").mkdir()

    assert recent_photos(tmp_path, 2) == [("middle", b"middle"), ("new", b"new")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("error_rate: 2", "error_rate|missing"),
        ("surprise: 1", "surprise|missing"),
        ("{", "pars"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused(tmp_path: Path, text: str | None, reason: str) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(RolloutError, match=rf"mine\.yaml(.|\n)*({reason})"):
        read_thresholds(tmp_path / "mine.yaml")
