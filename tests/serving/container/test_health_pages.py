from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.container.health import Health
from serving.container.health_pages import serve_pages


@pytest.fixture
def health() -> Health:
    return Health(unready_reason="")


@pytest.fixture
def pages(health: Health, tmp_path: Path) -> Iterator[httpx.Client]:
    # What a container that was killed leaves behind.
    (tmp_path / "health.sock").touch()
    transport = httpx.HTTPTransport(uds=str(tmp_path / "health.sock"))
    with serve_pages(health, tmp_path), httpx.Client(transport=transport, base_url="http://pages") as client:
        yield client
    assert not (tmp_path / "health.sock").exists()


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_a_ready_container_is_ok(pages: httpx.Client, path: str) -> None:
    response = pages.get(path)

    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response.headers["cache-control"] == "no-store"
    assert pages.head(path).content == b""


def test_readyz_gives_the_reason_as_a_problem(pages: httpx.Client, health: Health) -> None:
    health.unready_reason = "1 of 2 workers are ready"

    response = pages.get("/readyz")

    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"] == "1 of 2 workers are ready"
    assert pages.get("/healthz").status_code == 200


def test_healthz_is_503_when_the_model_is_silent_and_other_pages_are_not_found(
    pages: httpx.Client, health: Health
) -> None:
    started_s = health.clock()
    health.clock = lambda: started_s + 500

    response = pages.get("/healthz")

    assert response.status_code == 503
    assert "500 s" in response.json()["detail"]
    assert pages.get("/else").status_code == 404
