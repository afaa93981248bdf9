"""Calls from pages of other origins, as browsers make them (https://fetch.spec.whatwg.org)."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.container.running_proxy import PREDICT, RunningProxy, run_proxy
from tests.serving.container.upstream import Upstream

SHOP = "https://shop.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.fixture
def shop(nginx: None, upstream: Upstream, tmp_path: Path) -> Iterator[RunningProxy]:
    """A proxy whose answers pages of the shop may read."""
    with run_proxy(tmp_path, upstream.url, cors_origins=(SHOP, "http://localhost:3000")) as running:
        yield running


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


def post(proxy: RunningProxy, origin: str) -> httpx.Response:
    return httpx.post(f"{proxy.url}{PREDICT}", content=b"photo", headers={"Origin": origin})


@pytest.mark.parametrize("origin", [SHOP, "http://localhost:3000"])
def test_an_allowed_page_reads_the_answer_and_its_headers(shop: RunningProxy, origin: str) -> None:
    response = post(shop, origin)

    assert response.status_code == 200
    assert cors_headers(response) == {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "Retry-After, Server-Timing, X-Request-Id",
    }
    assert (response.headers["vary"], response.headers["timing-allow-origin"]) == ("Origin", origin)


def test_an_allowed_page_reads_errors_too(shop: RunningProxy, upstream: Upstream) -> None:
    upstream.statuses.append(503)

    response = post(shop, SHOP)

    assert (response.status_code, response.headers["access-control-allow-origin"]) == (503, SHOP)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"])
def test_another_page_reads_nothing(shop: RunningProxy, origin: str) -> None:
    preflight = httpx.options(f"{shop.url}{PREDICT}", headers={"Origin": origin, **PREFLIGHT})

    assert cors_headers(post(shop, origin)) == {}
    assert (preflight.status_code, cors_headers(preflight)) == (405, {})


@pytest.mark.parametrize("path", [PREDICT, f"{PREDICT}/1.0.0", "/explanations/fruity"])
def test_a_preflight_is_answered_without_a_key_and_without_torchserve(
    shop: RunningProxy, upstream: Upstream, path: str
) -> None:
    response = httpx.options(f"{shop.url}{path}", headers={"Origin": SHOP, **PREFLIGHT})

    headers = cors_headers(response)
    assert (response.status_code, response.content) == (204, b"")
    assert headers["access-control-allow-origin"] == SHOP
    assert headers["access-control-allow-methods"] == "GET, POST, PUT"
    assert headers["access-control-allow-headers"] == "Content-Type, X-API-Key, X-Request-Id, X-Top-K"
    assert headers["access-control-max-age"] == "600"
    assert upstream.requests == []


def test_a_star_lets_every_page_read(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_proxy(tmp_path, upstream.url, cors_origins=("*",)) as proxy:
        assert post(proxy, "https://any.example").headers["access-control-allow-origin"] == "*"


def test_without_the_setting_no_answer_has_such_headers(proxy: RunningProxy) -> None:
    response = post(proxy, SHOP)

    assert (response.status_code, cors_headers(response), "vary" in response.headers) == (200, {}, False)
