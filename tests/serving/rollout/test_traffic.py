from collections.abc import Callable
from dataclasses import dataclass

import httpx
import pytest

from serving.management import ManagementError
from serving.rollout.record import RolloutError
from serving.rollout.thresholds import check, read_thresholds
from serving.rollout.traffic import Traffic, compare_traffic, drain, read_traffic
from tests.serving.rollout.conftest import Place
from tests.serving.rollout.fake_torchserve import FakeVersion

THRESHOLDS = read_thresholds()
METRICS = """
ts_inference_requests_total{model_name="fruity",model_version="default",hostname="h",} 7.0
ts_inference_requests_total{model_name="fruity",model_version="1.1.0",hostname="h",} 2.0
ts_inference_requests_total{model_name="other",model_version="1.1.0",hostname="h",} 5.0
# TYPE Requests5XX counter
Requests5XX{Level="Host",Hostname="h",} 3.0
# TYPE fruity_confidence_bucket counter
fruity_confidence_bucket{le="0.5",ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 2.0
fruity_confidence_bucket{le="+Inf",ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 4.0
# TYPE fruity_confidence_count counter
fruity_confidence_count{ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 4.0
fruity_confidence_count{ModelName="fruity",ModelVersion="1.0.0",Hostname="h",} 9.0
# TYPE fruity_confidence_sum counter
fruity_confidence_sum{ModelName="fruity",ModelVersion="1.1.0",Hostname="h",} 2.0
"""


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
        check(compare_traffic(traffic(), new, THRESHOLDS, new.requests))


@pytest.mark.parametrize("new", [traffic(photos=10, confidence=0.1), traffic(requests=0, photos=0)])
def test_confidences_of_few_photos_are_not_compared(new: Traffic) -> None:
    assert check(compare_traffic(traffic(), new, THRESHOLDS, new.requests)) == {"error_rate": 0}


def metrics_client(response: httpx.Response) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda request: response), base_url="http://server")


def test_traffic_is_read_for_one_version_of_our_model() -> None:
    with metrics_client(httpx.Response(200, text=METRICS)) as client:
        read = read_traffic(client, "1.1.0")

    assert read == Traffic(requests=9, by_number=2, errors=3, photos=4, confidence_sum=2)
    assert read - read == Traffic(0, 0, 0, 0, 0)


def test_metrics_are_read_again_while_a_part_of_a_workers_figures_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.rollout.traffic._POLL_S", 0)
    last_bucket = 'fruity_confidence_bucket{le="+Inf",ModelName="fruity",ModelVersion="1.1.0",Hostname="h",}'
    all_but_count = METRICS.replace(f"{last_bucket} 4.0", f"{last_bucket} 8.0")
    pages = iter([all_but_count, all_but_count, METRICS])
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=next(pages)))
    with httpx.Client(transport=transport, base_url="http://server") as client:
        assert read_traffic(client, "1.1.0").photos == 4

    assert not list(pages)


@pytest.mark.parametrize("response", [httpx.Response(404), httpx.Response(200, text='a{b="c" 1')])
def test_metrics_that_cannot_be_read_name_the_address(response: httpx.Response) -> None:
    with metrics_client(response) as client, pytest.raises(ManagementError, match="http://server"):
        read_traffic(client, "1.1.0")


@dataclass
class Clock:
    """Advances in sleeps only; `meanwhile` is called in each with the time."""

    place: Place
    meanwhile: Callable[[float], object] = lambda _: None
    now_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile(self.now_s)

    def drain(self) -> float:
        """Return how long a version takes to drain whose requests take ten seconds at most."""
        self.place.torchserve.versions.setdefault("1.1.0", FakeVersion("fruity-1.1.0.mar"))
        self.place.torchserve.default = "1.1.0"
        self.place.torchserve.response_timeout = 10
        drain(self.place.server, "1.0.0", lambda: self.now_s, self.sleep)
        return self.now_s


def test_the_old_version_may_answer_its_queue_before_the_new_one_is_tried(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.traffic._POLL_S", 0)
    waiting = place.torchserve.versions["1.0.0"].pending = [3] * 20
    left: list[int] = []

    def notice() -> None:
        if place.torchserve.requests[-1].startswith("POST /predictions"):
            left.append(len(waiting))

    place.torchserve.before_request = notice
    place.roll_out()

    assert left
    assert set(left) == {0}


def test_a_rollout_goes_on_where_the_old_version_always_has_a_queue(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.traffic._QUEUE_S", 0.1)
    place.torchserve.versions["1.0.0"].pending = [3] * 1000

    place.roll_out()

    assert place.torchserve.default == "1.1.0"


def test_a_version_is_drained_one_response_timeout_after_its_last_request(place: Place) -> None:
    def ask_until_5_s(now_s: float) -> None:
        place.torchserve.versions["1.0.0"].asked += now_s < 5

    assert Clock(place).drain() == pytest.approx(10, abs=0.3)
    assert Clock(place, ask_until_5_s).drain() == pytest.approx(15, abs=0.5)
    # Described once before the wait, then each 0.2 s.
    place.torchserve.versions["1.0.0"].pending = [0] + [3] * 25
    assert Clock(place).drain() == pytest.approx(15, abs=0.3)


def test_a_version_that_clients_keep_naming_is_not_drained(place: Place) -> None:
    def ask(_: float) -> None:
        place.torchserve.versions["1.0.0"].asked += 1

    with pytest.raises(RolloutError, match=r"1\.0\.0 .*`make unregister VERSION=1\.0\.0`"):
        Clock(place, ask).drain()
