import os
from pathlib import Path

import httpx
import pytest

from serving.management import ManagementError
from serving.rollout.comparison import Answer, Comparison, Pair, ask, real_photos, recent_photos
from serving.rollout.judge import (
    RolloutError,
    check,
    judge_golden,
    judge_labels,
    judge_shadow,
    judge_traffic,
    read_thresholds,
)
from serving.rollout.traffic import Traffic, read_traffic
from tests.serving.rollout.fake_torchserve import GOLDEN

THRESHOLDS = read_thresholds()
OLD = Answer(200, 0.010, "apple", 0.9)


def compared(*answers: Answer, old: Answer = OLD) -> Comparison:
    return Comparison(tuple(Pair("photo", old, new) for new in answers))


def test_equal_answers_break_nothing() -> None:
    figures = check(judge_shadow(compared(OLD, OLD), THRESHOLDS))

    assert figures == {"error_rate": 0, "agreement": 1, "confidence_shift": 0, "latency_ratio": 1}


def test_every_broken_threshold_is_named_with_value_and_limit() -> None:
    comparison = compared(Answer(200, 0.05, "pear", 0.4), Answer(503, 0.05))

    with pytest.raises(RolloutError) as raised:
        check(judge_shadow(comparison, THRESHOLDS))

    assert str(raised.value) == (
        "error_rate is 0.5, allowed is at most 0; agreement is 0, allowed is at least 0.85; "
        "confidence_shift is 0.5, allowed is at most 0.15; latency_ratio is 5, allowed is at most 2"
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
    assert compared(new, old=old).error_rate == float(failed)


def test_where_nothing_can_be_compared_there_is_no_figure() -> None:
    comparison = compared(Answer(415, 0.1), old=Answer(415, 0.1))

    assert check(judge_golden(comparison, THRESHOLDS)) == {"error_rate": 0}


def test_a_shift_counts_up_and_down() -> None:
    assert compared(Answer(200, 0.01, "apple", 0.7)).confidence_shift == pytest.approx(0.2)
    assert compared(Answer(200, 0.01, "apple", 1.0)).confidence_shift == pytest.approx(0.1)


def test_new_labels_are_welcome_and_missing_ones_counted() -> None:
    (finding,) = judge_labels(("apple", "fig"), ("apple", "pear", "plum"), THRESHOLDS)

    assert (finding.value, finding.holds) == (1, False)


def traffic(requests: float = 200, errors: float = 0, photos: float = 200, confidence: float = 0.8) -> Traffic:
    return Traffic(requests, 0, errors, photos, photos * confidence)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (traffic(errors=4), "error_rate is 0.02"),
        (traffic(requests=0, errors=1), "error_rate is 1"),
        (traffic(confidence=0.6), "confidence_shift is 0.2"),
    ],
)
def test_live_traffic_that_breaks_a_threshold_is_named(new: Traffic, reason: str) -> None:
    with pytest.raises(RolloutError, match=reason):
        check(judge_traffic(traffic(), new, THRESHOLDS))


def test_confidences_of_few_photos_are_not_compared() -> None:
    assert check(judge_traffic(traffic(), traffic(photos=10, confidence=0.1), THRESHOLDS)) == {"error_rate": 0}
    assert check(judge_traffic(traffic(), traffic(requests=0, photos=0), THRESHOLDS)) == {"error_rate": 0}


METRICS = """
ts_inference_requests_total{model_name="fruity",model_version="default",hostname="h",} 7.0
ts_inference_requests_total{model_name="fruity",model_version="1.1.0",hostname="h",} 2.0
ts_inference_requests_total{model_name="other",model_version="1.1.0",hostname="h",} 5.0
# TYPE Requests5XX counter
Requests5XX{Level="Host",Hostname="h",} 3.0
fruity_confidence_count{ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 4.0
fruity_confidence_sum{ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 2.0
fruity_confidence_count{ModelName="fruity",ModelVersion="1.0.0",Hostname="h",} 9.0
"""


def metrics_client(response: httpx.Response) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda request: response), base_url="http://server")


def test_traffic_is_read_for_one_version_of_our_model() -> None:
    with metrics_client(httpx.Response(200, text=METRICS)) as client:
        read = read_traffic(client, "1.1.0")

    assert read == Traffic(requests=9, by_number=2, errors=3, photos=4, confidence_sum=2)
    assert read.confidence == 0.5
    assert (read - read).confidence == 0


@pytest.mark.parametrize("response", [httpx.Response(404), httpx.Response(200, text='a{b="c" 1')])
def test_metrics_that_cannot_be_read_are_a_sentence(response: httpx.Response) -> None:
    with metrics_client(response) as client, pytest.raises(ManagementError, match="no metrics from http://server"):
        read_traffic(client, "1.1.0")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("error_rate: 2", "missing required field|<= 1.0"),
        ("surprise: 1", "surprise|missing required field"),
        ("{", "while parsing"),
    ],
)
def test_thresholds_that_are_none_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)

    with pytest.raises(RolloutError, match=rf"thresholds .*mine\.yaml: (.|\n)*({reason})"):
        read_thresholds(tmp_path / "mine.yaml")


def test_thresholds_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(RolloutError, match=r"nowhere\.yaml"):
        read_thresholds(tmp_path / "nowhere.yaml")


def test_a_server_that_does_not_answer_is_an_answer_without_label() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://server") as client:
        answer = ask(client, None, b"photo")

    assert (answer.status, answer.label) == (0, None)


def test_real_photos_have_the_sizes_that_clients_send() -> None:
    names = [name for name, _ in real_photos(GOLDEN[:1])]

    assert names == ["golden 1 at 512x512", "golden 1 at 1280x960", "golden 1 at 4000x3000"]


def test_the_newest_photos_of_a_folder_are_taken(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old")):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    (tmp_path / "folder").mkdir()

    assert recent_photos(tmp_path, 2) == [("middle", b"middle"), ("new", b"new")]
