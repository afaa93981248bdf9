"""The step of a rollout in which the reverse proxy sends a share of live traffic to the new version."""

from pathlib import Path

import pytest

from serving.rollout.record import RolloutError
from tests.serving.rollout.conftest import Place


@pytest.fixture
def proxy(place: Place) -> Path:
    """The run folder of a reverse proxy before the server."""
    place.torchserve.proxy = place.folder / "proxy"
    place.torchserve.proxy.mkdir()
    return place.torchserve.proxy


def test_a_share_of_live_traffic_comes_before_all_of_it(place: Place, proxy: Path) -> None:
    place.roll_out(proxy=proxy)

    names, canary = list(place.steps), place.steps["canary"]
    assert names.index("compare") < names.index("canary") < names.index("promote")
    assert (canary["requests"] >= 100, canary["error_rate"]) == (True, 0)
    assert not list(proxy.iterdir())
    assert place.torchserve.default == "1.1.0"


def test_a_version_that_fails_on_its_share_never_becomes_the_default(place: Place, proxy: Path) -> None:
    place.torchserve.canary_errors = 2

    with pytest.raises(RolloutError, match=r"step canary: error_rate is 0\.02, .* 0\.01"):
        place.roll_out(proxy=proxy)

    assert place.torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert not list(proxy.iterdir())


def test_a_share_of_zero_leaves_the_canary_out(place: Place, proxy: Path) -> None:
    place.change_thresholds(canary_share=0)

    place.roll_out(proxy=proxy)

    assert "canary" not in place.steps
