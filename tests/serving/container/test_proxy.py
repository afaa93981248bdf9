"""What the reverse proxy passes on, and what clients get."""

import re
from pathlib import Path

import httpx
import pytest

from benchmarks.server_process import free_ports
from tests.serving.container.running_proxy import PREDICT, RunningProxy, assert_is_problem, run_proxy
from tests.serving.container.upstream import Upstream

NOT_FOUND = [
    "/", "/models", "/models/fruity", "/workflows", "/metrics", "/ping", "/v3/health/ready", "/wfpredict/x",
    "/api-description", "/predictions", "/predictions/", "/predictions/other", "/predictions/fruity/",
    "/predictions/fruity/latest", "/predictions/fruity/1.0.0/x", "/predictions/fruity/../../models",
    "/predictions/fruity%2f..%2f..%2fmodels", "/sized/models", "/sized//ping", "/%73ized/ping",
    "/x/../unsized/models", "/unsized/predictions/fruity", "/canary_draw/predictions/fruity",
    "/canary/predictions/fruity/1.0.0", "/closing/models", "/closing/sized/ping", "/problem", "/health.sock",
    "/.git/config",
]  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", [PREDICT, f"{PREDICT}/1.0", "/explanations/fruity", "/explanations/fruity/1.0.0"])
def test_photos_are_passed_on(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path, content=b"photo", headers={"Content-Type": "image/jpeg"})

    asked = response.json()
    assert (response.status_code, asked["method"], asked["path"], asked["size"]) == (200, method, path, 5)
    assert asked["headers"]["content-type"] == "image/jpeg"


@pytest.mark.parametrize("draining", [False, True])
def test_every_other_path_is_not_found(
    client: httpx.Client, upstream: Upstream, tmp_path: Path, draining: bool
) -> None:
    if draining:
        (tmp_path / "run" / "draining").touch()

    for path in NOT_FOUND:
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            assert_is_problem(client.request(method, path), 404, "not-found")

    assert upstream.requests == []


def test_torchserve_gets_the_normalised_path(proxy: RunningProxy, upstream: Upstream) -> None:
    request = b"POST /models/..//predictions/%66ruity?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"

    proxy.send(request + b"Connection: close\r\n\r\n")

    assert [asked["path"] for asked in upstream.requests] == ["/predictions/fruity"]


def test_get_asks_torchserve_for_the_description_of_the_model(client: httpx.Client) -> None:
    asked = client.get(f"{PREDICT}/2.0.0").json()

    assert (asked["method"], asked["path"], asked["size"]) == ("GET", f"{PREDICT}/2.0.0", 0)
    assert asked["headers"]["describe"] == "True"


@pytest.mark.parametrize("method", ["HEAD", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(client: httpx.Client, method: str) -> None:
    response = client.request(method, PREDICT)

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST, PUT"


@pytest.mark.parametrize("path", ["/readyz", "/healthz", "/docs", "/openapi.yaml"])
def test_pages_name_the_methods_that_they_have(client: httpx.Client, path: str) -> None:
    response = client.post(path)

    assert_is_problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET, HEAD"
    assert client.head(path).status_code == 200


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("?top_k=3", None, "3"),
        ("?a=b&top_k=0", None, "0"),
        ("?top_k=3", "2", "2"),
        ("?atop_k=3", None, None),
        ("?top_k=", None, None),
        ("", None, None),
    ],
)
def test_top_k_of_the_query_becomes_the_header_that_torchserve_passes_on(
    client: httpx.Client, query: str, header: str | None, expected: str | None
) -> None:
    headers = {} if header is None else {"X-Top-K": header}

    asked = client.post(f"{PREDICT}{query}", content=b"photo", headers=headers).json()

    assert asked["path"] == PREDICT
    assert asked["headers"].get("x-top-k") == expected


def test_secrets_and_the_internal_header_are_removed(client: httpx.Client) -> None:
    internal = {"explain": "True", "describe": "True", "X-Probe": "1"}
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-API-Key": "k", "X-Top-K": "3", **internal}

    asked = client.post(PREDICT, content=b"photo", headers=headers).json()["headers"]

    assert {"authorization", "cookie", "x-api-key", "explain", "describe", "x-probe"} & set(asked) == set()
    assert asked["x-top-k"] == "3"


@pytest.mark.parametrize("given", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLencoded; charset=x"])
def test_the_form_type_that_breaks_photos_is_replaced(client: httpx.Client, given: str) -> None:
    asked = client.post(PREDICT, content=b"photo", headers={"Content-Type": given}).json()

    assert asked["headers"]["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("given", [b"abc-1.2_3", b"a" * 64, b"", b"a" * 65, b"a b", b'a"b', "ä".encode()])
def test_a_request_id_is_kept_if_it_is_valid(client: httpx.Client, given: bytes) -> None:
    response = client.post(PREDICT, content=b"photo", headers=[(b"X-Request-Id", given)])

    [used] = response.headers.get_list("x-request-id")
    is_valid = re.fullmatch(rb"[\w.-]{1,64}", given)
    assert used == given.decode() if is_valid else len(used) == 32
    assert response.json()["headers"]["x-request-id"] == used


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_problems_of_the_handler_pass_unchanged(client: httpx.Client, upstream: Upstream, status: int) -> None:
    upstream.statuses.append(status)

    response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["size"]) == (status, 5)


@pytest.mark.parametrize(
    ("failures", "status", "kind"),
    [
        ([404], 404, "not-found"),
        ([503], 503, "busy"),
        ([504], 504, "timeout"),
        ([500] * 3, 500, "internal"),
        ([507] * 2, 503, "busy"),
    ],
)
def test_torchserves_own_errors_become_problems(
    client: httpx.Client, upstream: Upstream, failures: list[int], status: int, kind: str
) -> None:
    upstream.statuses.extend(failures)

    response = client.post(PREDICT, content=b"photo")

    assert_is_problem(response, status, kind)
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)
    assert [(asked["path"], asked["size"]) for asked in upstream.requests] == [(PREDICT, 5)] * len(failures)
    assert client.post(PREDICT, content=b"photo").status_code == 200


@pytest.mark.parametrize("failures", [[500], [500, 500], [0], [0, 500], [507], [507, 500], [500, 507]])
def test_a_prediction_whose_worker_died_is_retried(
    client: httpx.Client, upstream: Upstream, failures: list[int]
) -> None:
    upstream.statuses.extend(failures)

    response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["size"]) == (200, 5)
    assert len(upstream.requests) == len(failures) + 1


def test_without_torchserve_the_answer_is_503_with_retry_after(nginx: None, tmp_path: Path) -> None:
    with run_proxy(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}") as proxy:
        response = httpx.post(f"{proxy.url}{PREDICT}", content=b"photo")

    assert_is_problem(response, 503, "busy")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_the_health_pages_are_passed_on(proxy: RunningProxy, client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}
    assert client.head(path).status_code == 200
    assert_is_problem(client.post(path), 405, "method-not-allowed")

    proxy.health.unready_reason = "0 of 2 workers are ready"

    assert (client.get("/readyz").status_code, client.get("/healthz").status_code) == (503, 200)
