from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.http_server import serve_http
from tests.serving.container.running_proxy import RunningProxy, run_proxy
from tests.serving.container.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    with serve_http(upstream.answer) as upstream.url:
        yield upstream


@pytest.fixture
def proxy(nginx: None, upstream: Upstream, tmp_path: Path) -> Iterator[RunningProxy]:
    """The reverse proxy of a fake TorchServe."""
    with run_proxy(tmp_path, upstream.url) as running:
        yield running


@pytest.fixture
def client(proxy: RunningProxy) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=30) as connected:
        yield connected
