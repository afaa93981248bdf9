import time
from dataclasses import replace

import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import Load, Sample, ask_once, plan_arrivals, run_closed, run_in_background, run_open
from benchmarks.server_process import free_ports
from tests.benchmarks.labelling_server import PHOTO, Behaviour, run_labelling_server


def test_a_slow_server_is_measured_as_slow() -> None:
    with run_labelling_server(Behaviour(delay_s=0.2)) as endpoint:
        load = run_closed(endpoint, [PHOTO], 2, 1)

    assert 0 < load.photos_per_s <= 10
    assert min(load.latencies_ms) >= 200
    assert load.errors == {}


@pytest.mark.parametrize(
    ("behaviour", "label", "errors"),
    [
        (Behaviour(), "espresso", set()),
        (Behaviour("crème brûlée"), "crème brûlée", set()),
        (Behaviour("?"), None, set()),
        (Behaviour("not food"), "espresso", {"wrong label"}),
        (Behaviour("?"), "espresso", {"wrong label"}),
        (Behaviour(status=503), "espresso", {"503"}),
    ],
)
def test_an_answer_with_another_label_or_status_is_an_error_and_not_throughput(
    behaviour: Behaviour, label: str | None, errors: set[str]
) -> None:
    with run_labelling_server(behaviour) as endpoint:
        load = run_closed(endpoint, [replace(PHOTO, label=label)], 1, 1)

    assert set(load.errors) == errors
    assert (load.photos_per_s > 0) == (not errors)


def test_each_answer_is_compared_with_its_own_photo() -> None:
    photos = [PHOTO, replace(PHOTO, label="not food")]
    with run_labelling_server() as endpoint:
        load = run_closed(endpoint, photos, 3, 1)

    assert abs(len(load.latencies_ms) - load.errors["wrong label"]) <= 3


def test_an_open_loop_sends_by_its_schedule_also_to_a_slow_server() -> None:
    behaviour = Behaviour(delay_s=0.3)
    with run_labelling_server(behaviour) as endpoint:
        load = run_open(endpoint, [PHOTO], rate=40, seconds=0.5)

    assert len(load.latencies_ms) == len(behaviour.requests) == len(plan_arrivals(40, 0.5))
    assert min(load.latencies_ms) >= 300


def test_arrivals_are_the_same_each_time_in_order_and_as_many_as_the_rate_says() -> None:
    arrivals = plan_arrivals(200, 10)

    assert arrivals == plan_arrivals(200, 10)
    assert arrivals == sorted(arrivals)
    assert 0 < arrivals[0] < arrivals[-1] < 10
    assert len(arrivals) == pytest.approx(2000, rel=0.1)


def test_a_load_in_the_background_grows_while_the_block_runs() -> None:
    with run_labelling_server() as endpoint, run_in_background(endpoint, [PHOTO], 2, pause_s=0.01) as samples:
        while len(samples) < 6:
            time.sleep(0.01)

    assert {(sample.error, sample.version) for sample in samples} == {("", "1.2.0")}
    assert samples[0].latency_s > 0


@pytest.mark.parametrize(("percent", "enough"), [(50, 2), (95, 20), (99, 100)])
def test_a_percentile_needs_enough_answers_to_have_one_beyond_it(percent: float, enough: int) -> None:
    few, many = (Load([Sample(0.0, 0.007)] * count, seconds=1) for count in (enough - 1, enough))

    assert few.percentile_ms(percent) is None
    assert many.percentile_ms(percent) == 7.0


def test_an_answer_after_the_end_of_a_closed_loop_is_late_and_not_throughput() -> None:
    with run_labelling_server(Behaviour(delay_s=0.4)) as endpoint:
        load = run_closed(endpoint, [PHOTO], 2, 0.2)

    assert (load.samples, load.num_late, load.photos_per_s) == ([], 2, 0.0)


def test_a_lost_connection_a_refused_one_and_a_timeout_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Endpoint(f"http://127.0.0.1:{free_ports(1)[0]}/")
    monkeypatch.setattr("benchmarks.load.TIMEOUT_S", 0.2)
    with (
        run_labelling_server(Behaviour(hangs_up=True)) as hangs_up,
        run_labelling_server(Behaviour(delay_s=0.6)) as slow,
    ):
        errors = [ask_once(endpoint, PHOTO) for endpoint in (hangs_up, absent, slow)]

    assert errors == ["ServerDisconnectedError", "ClientConnectorError", "TimeoutError"]


def test_a_photo_of_megabytes_is_sent_whole() -> None:
    behaviour, photo = Behaviour(), Photo("phone", b"x" * 2_000_000, "espresso")
    with run_labelling_server(behaviour) as endpoint:
        error = ask_once(endpoint, photo)

    assert error == ""
    assert behaviour.requests == [("image/jpeg", photo.body)]
