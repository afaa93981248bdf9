from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.container.health import Health
from serving.container.pages import serve_pages


@pytest.fixture
def health() -> Health:
    return Health(unready_reason="")


@pytest.fixture
def pages(health: Health, tmp_path: Path) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(uds=str(tmp_path / "health.sock"))
    with serve_pages(health, tmp_path), httpx.Client(transport=transport, base_url="http://pages") as client:
        yield client


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_all_is_well(pages: httpx.Client, path: str) -> None:
    response = pages.get(path)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"


def test_readyz_gives_the_reason_as_a_problem(pages: httpx.Client, health: Health) -> None:
    health.unready_reason = "1 of 2 workers are ready"

    response = pages.get("/readyz")

    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "1 of 2 workers are ready"
    assert pages.get("/healthz").status_code == 200


def test_healthz_is_false_when_stuck(tmp_path: Path) -> None:
    moments = iter([0.0, 500.0])
    transport = httpx.HTTPTransport(uds=str(tmp_path / "health.sock"))
    with (
        serve_pages(Health(lambda: next(moments)), tmp_path),
        httpx.Client(transport=transport, base_url="http://pages") as client,
    ):
        response = client.get("/healthz")

    assert response.status_code == 503
    assert response.json()["detail"] == "the model has not answered for 500 s"


def test_head_has_no_body_and_other_pages_are_not_found(pages: httpx.Client) -> None:
    assert pages.head("/readyz").content == b""
    assert pages.get("/else").status_code == 404


def test_a_socket_that_was_left_behind_is_replaced(health: Health, tmp_path: Path) -> None:
    (tmp_path / "health.sock").touch()

    with serve_pages(health, tmp_path):
        assert (tmp_path / "health.sock").is_socket()
    assert not (tmp_path / "health.sock").exists()
