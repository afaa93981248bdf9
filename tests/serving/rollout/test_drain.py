from collections.abc import Callable
from dataclasses import dataclass

import pytest

from serving.management import Server
from serving.rollout.drain import StillAsked, drain
from tests.serving.rollout.fake_torchserve import FakeTorchServe


@dataclass
class Clock:
    """Stands still but for sleeps; `meanwhile` happens in each, with the seconds that have gone."""

    meanwhile: Callable[[float], None] = lambda _: None
    now_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.meanwhile(self.now_s)

    def drain(self, server: Server) -> float:
        return drain(server, "1.0.0", lambda: self.now_s, self.sleep)


@pytest.fixture(autouse=True)
def patient(torchserve: FakeTorchServe) -> None:
    """Requests take ten seconds at most."""
    torchserve.response_timeout = 10


def test_a_version_that_nobody_asks_is_empty_after_one_response_timeout(server: Server) -> None:
    assert Clock().drain(server) == pytest.approx(10, abs=0.3)


def test_a_queue_that_is_not_empty_begins_the_wait_anew(torchserve: FakeTorchServe, server: Server) -> None:
    # Described once before the wait, then each 0.2 s.
    torchserve.versions["1.0.0"].pending = [0] + [3] * 25

    assert Clock().drain(server) == pytest.approx(15, abs=0.3)


def test_a_request_by_number_begins_the_wait_anew(torchserve: FakeTorchServe, server: Server) -> None:
    def ask_until_5_s(now_s: float) -> None:
        torchserve.versions["1.0.0"].asked += now_s < 5

    assert Clock(ask_until_5_s).drain(server) == pytest.approx(15, abs=0.5)


def test_a_version_that_is_asked_by_its_number_is_not_given_up(torchserve: FakeTorchServe, server: Server) -> None:
    def ask(_: float) -> None:
        torchserve.versions["1.0.0"].asked += 1

    with pytest.raises(
        StillAsked, match=r"still ask for version 1\.0\.0 by its number .*`make unregister VERSION=1\.0"
    ):
        Clock(ask).drain(server)
