from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from serving.management import Server
from serving.model_store import stage
from serving.rollout.judge import Thresholds, read_thresholds
from tests.serving.rollout.fake_torchserve import FakeTorchServe, write_archive


@pytest.fixture
def torchserve(tmp_path: Path) -> FakeTorchServe:
    """Serves 1.0.0 from its model store, as `make serve` leaves it; 1.1.0 is built in tmp_path/build."""
    stage(write_archive(tmp_path / "old", "1.0.0"), tmp_path / "store")
    write_archive(tmp_path / "build", "1.1.0")
    return FakeTorchServe(tmp_path / "store")


@pytest.fixture
def server(torchserve: FakeTorchServe) -> Iterator[Server]:
    with torchserve.connect() as connected:
        yield connected


@pytest.fixture
def thresholds() -> Thresholds:
    """Those that come with fruity, without the waits; a fake's times say nothing."""
    return msgspec.structs.replace(read_thresholds(), watch_seconds=0, canary_seconds=0, latency_ratio=1e6)
