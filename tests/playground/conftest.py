from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.http_server import serve_http
from tests.playground.browser import WAIT_MS, FakeServer, open_browser, record_errors, run_page


@pytest.fixture(scope="module")
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture(scope="module")
def server_url(server: FakeServer) -> Iterator[str]:
    with serve_http(server) as url:
        yield url


@pytest.fixture(scope="module")
def corrections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page") / "corrections"


@pytest.fixture(scope="module")
def url(server_url: str, corrections: Path) -> Iterator[str]:
    with run_page(server_url, corrections) as page_url:
        yield page_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def color_scheme() -> str:
    """What the browser prefers; tests may choose `dark`."""
    return "light"


@pytest.fixture
def page(browser: Browser, url: str, server: FakeServer, color_scheme: str) -> Iterator[Page]:
    """Return the page, which must end without an error on its console."""
    server.key, server.instead, server.takes_corrections = None, None, True
    server.corrections.clear()
    permissions = ["camera", "clipboard-read", "clipboard-write"]
    context = browser.new_context(permissions=permissions, color_scheme="dark" if color_scheme == "dark" else "light")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    expect.set_options(timeout=WAIT_MS)
    errors: list[str] = []
    record_errors(page, errors)
    page.goto(url)
    expect(page.get_by_text("fruity 1.0.0 answers")).to_be_visible()
    yield page
    context.close()
    assert errors == []
