"""The step of a rollout that lets the front send a share of live traffic to the new version."""

from pathlib import Path

import msgspec
import pytest

from serving.management import Server
from serving.rollout.canary import CANARY
from serving.rollout.judge import RolloutError, Thresholds
from tests.serving.rollout.fake_torchserve import FakeTorchServe
from tests.serving.rollout.rollouts import history, roll_out


@pytest.fixture
def front(torchserve: FakeTorchServe, tmp_path: Path) -> Path:
    """The run folder of a front before the server."""
    torchserve.front = tmp_path / "front"
    torchserve.front.mkdir()
    return torchserve.front


def test_a_share_of_live_traffic_comes_before_all_of_it(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path, front: Path
) -> None:
    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", front=front)

    names = [step["step"] for step in history(server.store)[0]["steps"]]
    canary = next(step for step in history(server.store)[0]["steps"] if step["step"] == "canary")
    assert names.index("compare") < names.index("canary") < names.index("promote")
    assert canary["requests"] >= 100
    assert canary["error_rate"] == 0
    assert not list(front.iterdir())
    assert torchserve.changes == ["register 1.1.0", "promote 1.1.0", "unregister 1.0.0"]


def test_a_version_that_fails_on_its_share_never_takes_over(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path, front: Path
) -> None:
    torchserve.canary_errors = 2

    with pytest.raises(RolloutError, match=r"error_rate is 0\.02, allowed is at most 0\.01"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", front=front)

    assert torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert [step["step"] for step in history(server.store)[0]["steps"]][-2:] == ["canary", "undo"]
    assert not (front / CANARY).exists()


def test_a_share_of_nothing_leaves_the_canary_out(
    server: Server, thresholds: Thresholds, tmp_path: Path, front: Path
) -> None:
    thresholds = msgspec.structs.replace(thresholds, canary_share=0)

    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", front=front)

    assert "canary" not in [step["step"] for step in history(server.store)[0]["steps"]]
