from collections.abc import Iterator

import httpx
import pytest

from serving.torchserve import TorchServe
from tests.end_to_end.server import run_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchServe]:
    """The committed archive in a real TorchServe, shared by all tests."""
    with run_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def inference(server: TorchServe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.addresses.inference, timeout=60) as client:
        yield client


@pytest.fixture
def management(server: TorchServe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.addresses.management, timeout=60) as client:
        yield client


@pytest.fixture
def metrics(server: TorchServe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.addresses.metrics, timeout=60) as client:
        yield client
