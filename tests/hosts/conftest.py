from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.network import Host, NamespaceError, connect_hosts
from tests.hosts.results import Results


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", type=Path, help="page whose sections get the tables (make hosts-test)")


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, ...]]:
    """A switch, which is a host, too, and two hosts."""
    try:
        with connect_hosts(2) as connected:
            yield connected
    except NamespaceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def results(request: pytest.FixtureRequest) -> Iterator[Results]:
    """What the tests measured; written to --page once all of them have passed."""
    collected = Results()
    yield collected
    page = request.config.getoption("--page", default=None)
    if page is not None and not request.session.testsfailed:
        collected.write(page)
