"""The page of the API in a real browser, behind the real reverse proxy."""

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.playground.browser import CHROMIUM
from tests.serving.container.running_proxy import RunningProxy
from tests.serving.container.upstream import Upstream

pytestmark = pytest.mark.slow

_WAIT_MS = 30_000


@pytest.fixture
def page(proxy: RunningProxy) -> Iterator[Page]:
    """Return /docs, which must end without an error on its console."""
    if CHROMIUM is None:
        pytest.skip("no browser is installed (apt package chromium)")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(_WAIT_MS)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{proxy.url}/docs")
        yield page
        browser.close()
    assert errors == []


def test_a_photo_is_sent_from_the_page(page: Page, upstream: Upstream) -> None:
    operation = page.locator("#operations-default-predict")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_label("Request content type").select_option("application/octet-stream")
    operation.locator("input[type=file]").set_input_files(
        {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"photo"}
    )
    operation.get_by_role("button", name="Execute").click()

    answer = operation.locator(".live-responses-table .response-col_description code").first
    expect(answer).to_contain_text('"path"', timeout=_WAIT_MS)
    (asked,) = upstream.requests
    assert (asked["method"], asked["path"], asked["size"]) == ("POST", "/predictions/fruity", 5)
    assert json.loads(answer.inner_text())["path"] == "/predictions/fruity"


def test_the_page_may_load_from_its_own_server_only(client: httpx.Client) -> None:
    policy = client.get("/docs").headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; script-src 'self'; ")
    assert "unsafe-eval" not in policy
    assert (
        client.get("/openapi.yaml").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    )


@pytest.mark.parametrize("path", ["/docs/", "/docs/start.js.map", "/docs/../nginx.conf", "/docs/%2e%2e/openapi.yaml"])
def test_other_files_beside_the_page_are_not_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == (200 if path.endswith("openapi.yaml") else 404)
