import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.container.fronts import RunningFront, run_front
from tests.serving.container.upstream import Upstream


@pytest.fixture(scope="session")
def nginx() -> None:
    """Skip where Debian's nginx is not installed."""
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed; apt-get install nginx libnginx-mod-http-js brings it")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def front(nginx: None, upstream: Upstream, tmp_path: Path) -> Iterator[RunningFront]:
    """The front before a stand-in for TorchServe."""
    with run_front(tmp_path, upstream.url) as running:
        yield running


@pytest.fixture
def client(front: RunningFront) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=front.url, timeout=30) as connected:
        yield connected
