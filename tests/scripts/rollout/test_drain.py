import pytest

from scripts.management import Server
from scripts.rollout.drain import StillAsked, drain
from tests.scripts.rollout.fake_torchserve import FakeTorchServe


def test_a_version_that_nobody_asks_is_empty_after_one_response_timeout(
    torchserve: FakeTorchServe, server: Server
) -> None:
    torchserve.response_timeout = 1

    assert drain(server, "1.0.0") >= 1


def test_a_queue_that_is_not_empty_begins_the_wait_anew(torchserve: FakeTorchServe, server: Server) -> None:
    torchserve.response_timeout = 1
    torchserve.versions["1.0.0"].pending = [0, 3, 2, 1]

    assert drain(server, "1.0.0") >= 1.6


def test_a_version_that_is_asked_by_its_number_is_not_given_up(torchserve: FakeTorchServe, server: Server) -> None:
    torchserve.response_timeout = 1
    torchserve.versions["1.0.0"].pending = [1] * 100

    with pytest.raises(
        StillAsked, match=r"still ask for version 1\.0\.0 by its number .*`make unregister VERSION=1\.0"
    ):
        drain(server, "1.0.0")
