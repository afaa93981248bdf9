import asyncio
import math
from dataclasses import replace

import pytest

from benchmarks.client import ask_once
from benchmarks.load import Load, plan_arrivals, run_closed, run_open
from benchmarks.server import free_ports
from benchmarks.wire import Photo, Target
from benchmarks.wrk import WrkError, is_installed, parse_output
from tests.benchmarks.answering import PHOTO, Behaviour, answering

with_wrk = pytest.mark.skipif(not is_installed(), reason="wrk is not installed")
TOOLS = [False, pytest.param(True, marks=with_wrk)]
CREME = Photo("dessert", b"photo", "crème brûlée")


@pytest.mark.parametrize("use_wrk", TOOLS)
def test_a_slowed_server_comes_out_slower(use_wrk: bool) -> None:
    with answering() as quick, answering(Behaviour(delay_s=0.2)) as slow:
        fast = run_closed(quick, [PHOTO], 2, 1, use_wrk=use_wrk)
        slowed = run_closed(slow, [PHOTO], 2, 1, use_wrk=use_wrk)

    assert fast.photos_per_s > 2 * slowed.photos_per_s > 0
    assert 2 * fast.percentile_ms(50) < slowed.percentile_ms(50)
    assert (fast.num_errors, slowed.num_errors) == (0, 0)
    assert fast.tool == ("wrk" if use_wrk else "python")


@pytest.mark.parametrize("use_wrk", TOOLS)
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (Behaviour(statuses=(503,)), "503"),
        (Behaviour(label="not food"), "wrong label"),
        (Behaviour(label="?"), "wrong label"),
    ],
)
def test_what_is_not_right_is_an_error_and_no_throughput(behaviour: Behaviour, kind: str, use_wrk: bool) -> None:
    with answering(behaviour) as target:
        load = run_closed(target, [PHOTO], 1, 1, use_wrk=use_wrk)

    assert set(load.errors) == {kind}
    assert load.errors[kind] > 0
    assert load.photos_per_s == 0
    assert math.isnan(load.percentile_ms(50))


@pytest.mark.parametrize("use_wrk", TOOLS)
def test_errors_are_counted_apart_from_the_answers_beside_them(use_wrk: bool) -> None:
    with answering(Behaviour(statuses=(200, 500))) as target:
        load = run_closed(target, [PHOTO], 1, 1, use_wrk=use_wrk)

    assert abs(len(load.latencies_ms) - load.errors["500"]) <= 1


@pytest.mark.parametrize("use_wrk", TOOLS)
def test_each_answer_is_held_against_its_own_photo(use_wrk: bool) -> None:
    photos = [PHOTO, replace(PHOTO, label="not food")]
    with answering() as target:
        load = run_closed(target, photos, 3, 1, use_wrk=use_wrk)

    assert abs(len(load.latencies_ms) - load.errors["wrong label"]) <= 3


@pytest.mark.parametrize("use_wrk", TOOLS)
def test_a_label_that_is_not_ascii_is_recognised(use_wrk: bool) -> None:
    with answering(Behaviour(label="crème brûlée")) as target:
        load = run_closed(target, [CREME], 1, 1, use_wrk=use_wrk)

    assert load.num_errors == 0
    assert load.photos_per_s > 0


def test_a_photo_without_a_label_is_right_with_any_answer() -> None:
    with answering(Behaviour(label="?")) as target:
        load = run_closed(target, [replace(PHOTO, label=None)], 1, 0.2, use_wrk=False)

    assert load.num_errors == 0


def test_an_open_loop_sends_what_the_schedule_says_whatever_the_server_does() -> None:
    behaviour = Behaviour(delay_s=0.3)
    with answering(behaviour) as target:
        load = run_open(target, [PHOTO], rate=40, seconds=0.5)

    assert len(load.latencies_ms) == len(behaviour.requests) == len(plan_arrivals(40, 0.5))
    assert min(load.latencies_ms) >= 300


def test_arrivals_are_the_same_each_time_in_order_and_as_many_as_the_rate_says() -> None:
    arrivals = plan_arrivals(200, 10)

    assert arrivals == plan_arrivals(200, 10)
    assert arrivals == sorted(arrivals)
    assert 0 < arrivals[0] < arrivals[-1] < 10
    assert len(arrivals) == pytest.approx(2000, rel=0.1)


def test_percentiles_are_those_of_the_latencies() -> None:
    load = Load(list(range(1, 101)), seconds=10)

    assert load.percentile_ms(50) == 50.5
    assert load.percentile_ms(99) == pytest.approx(99.01)
    assert load.photos_per_s == 10


@pytest.mark.parametrize(("percent", "enough"), [(50, 2), (95, 20), (99, 100)])
def test_a_percentile_takes_answers_enough_to_have_one_beyond_it(percent: float, enough: int) -> None:
    few, many = (Load([7.0] * count, seconds=1) for count in (enough - 1, enough))

    assert math.isnan(few.percentile_ms(percent))
    assert many.percentile_ms(percent) == 7.0


def test_an_answer_after_the_end_of_a_closed_loop_is_late_and_no_throughput() -> None:
    behaviour = Behaviour(delay_s=0.5)
    with answering(behaviour) as target:
        load = run_closed(target, [PHOTO], 3, 0.1, use_wrk=False)

    assert (load.latencies_ms, load.num_late, load.num_errors) == ([], 3, 0)
    assert len(behaviour.requests) == 3


@pytest.mark.parametrize("chunked", [True, False])
def test_an_answer_is_read_whatever_its_framing(chunked: bool) -> None:
    with answering(Behaviour(chunked=chunked)) as target:
        assert asyncio.run(ask_once(target, PHOTO)) is None


def test_a_server_that_hangs_up_or_is_not_there_is_a_connection_error() -> None:
    absent = Target(f"http://127.0.0.1:{free_ports(1)[0]}/")
    with answering(Behaviour(hangs_up=True)) as target:
        errors = [asyncio.run(ask_once(one, PHOTO)) for one in (target, absent)]

    assert errors == ["connection", "connection"]


def test_a_timeout_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.client.TIMEOUT_S", 0.05)
    with answering(Behaviour(delay_s=0.5)) as target:
        assert asyncio.run(ask_once(target, PHOTO)) == "timeout"


def test_the_output_of_wrk_is_read_by_kind() -> None:
    measured = parse_output("Running 1s\nfruity latency 1.5\nfruity latency 2.0\nfruity error 3 wrong label\n"
                            "fruity error 0 timeout\nfruity seconds 1.25\n")  # fmt: skip

    assert measured.latencies_ms == [1.5, 2.0]
    assert measured.errors == {"wrong label": 3}
    assert measured.seconds == 1.25


@with_wrk
def test_a_failing_wrk_says_why() -> None:
    with pytest.raises(WrkError, match=r"wrk ended with code 1: .*unable to connect"):
        run_closed(Target(f"http://127.0.0.1:{free_ports(1)[0]}/"), [PHOTO], 1, 1, use_wrk=True)
