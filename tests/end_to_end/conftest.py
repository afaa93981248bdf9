from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.torchserve import MODEL, TorchServe
from tests.docs.document import check, read_document, response_contents
from tests.end_to_end.server import run_server


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server has its config.properties, log and model_store/."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def server(server_folder: Path) -> Iterator[TorchServe]:
    """The committed archive in a real TorchServe, shared by all tests."""
    with run_server(server_folder) as running:
        yield running


@pytest.fixture
def inference(server: TorchServe) -> Iterator[httpx.Client]:
    """Each answer that it gets is checked against docs/openapi.yaml."""
    hooks = {"response": [check_described]}
    with httpx.Client(base_url=server.addresses.inference, timeout=60, event_hooks=hooks) as client:
        yield client


@pytest.fixture
def management(server: TorchServe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.addresses.management, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def metrics(server: TorchServe) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.addresses.metrics, timeout=60) as client:
        yield client


def check_described(response: httpx.Response) -> None:
    """Raise if the document does not have the status of *response*, its media type and its body."""
    response.read()
    document = read_document()
    _, verb, model, *version = response.request.url.path.split("/")
    if model != MODEL:
        return
    path = f"/{verb}/fruity" + ("/{version}" if version else "")
    contents = response_contents(document, path, response.request.method.lower(), response.status_code)
    media_type = response.headers["content-type"].partition(";")[0]
    assert media_type in contents
    if media_type != "image/png":
        check(document, contents[media_type]["schema"], response.json())
