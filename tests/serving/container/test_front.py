"""What the front lets through, and what clients get."""

from pathlib import Path

import httpx
import pytest

from tests.serving.container.fronts import RunningFront, free_port, run_front
from tests.serving.container.problems import PREDICT, assert_is_problem
from tests.serving.container.upstream import Upstream


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "/predictions/fruity",
        "/predictions/fruity/1.0.0",
        "/predictions/fruity/1.0",
        "/explanations/fruity",
        "/explanations/fruity/1.0.0",
    ],
)
def test_photos_go_through(client: httpx.Client, method: str, path: str) -> None:
    response = client.request(method, path, content=b"photo", headers={"Content-Type": "image/jpeg"})

    asked = response.json()
    assert (response.status_code, asked["method"], asked["path"], asked["size"]) == (200, method, path, 5)
    assert asked["headers"]["content-type"] == "image/jpeg"


@pytest.mark.parametrize("draining", [False, True])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/models",
        "/models/fruity",
        "/workflows",
        "/metrics",
        "/ping",
        "/v2/health/ready",
        "/wfpredict/x",
        "/api-description",
        "/predictions",
        "/predictions/",
        "/predictions/other",
        "/predictions/fruity/",
        "/predictions/fruity/latest",
        "/predictions/fruity/1.0.0/x",
        "/predictions/fruity/../../models",
        "/predictions/fruity%2f..%2f..%2fmodels",
        "/sized/models",
        "/sized//ping",
        "/%73ized/ping",
        "/x/../unsized/models",
        "/unsized/predictions/fruity",
        "/offered/predictions/fruity",
        "/canary/predictions/fruity/1.0.0",
        "/closing/models",
        "/closing/sized/ping",
        "/problem",
        "/health.sock",
        "/.git/config",
    ],
)
def test_everything_else_is_not_found(
    client: httpx.Client, upstream: Upstream, tmp_path: Path, path: str, draining: bool
) -> None:
    if draining:
        (tmp_path / "run" / "draining").touch()

    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        assert_is_problem(client.request(method, path), 404, "not-found")

    assert upstream.requests == []


def test_a_path_goes_on_as_the_front_understood_it(front: RunningFront, upstream: Upstream) -> None:
    request = b"POST /models/..//predictions/%66ruity?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"

    front.send(request + b"Connection: close\r\n\r\n")

    assert [asked["path"] for asked in upstream.requests] == ["/predictions/fruity"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PATCH", "OPTIONS"])
def test_photos_are_only_posted_and_put(client: httpx.Client, method: str) -> None:
    response = client.request(method, PREDICT)

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST, PUT"


def test_secrets_and_the_explain_mark_stay_behind(client: httpx.Client) -> None:
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-API-Key": "k", "explain": "True", "X-Top-K": "3"}

    asked = client.post(PREDICT, content=b"photo", headers=headers).json()["headers"]

    assert {"authorization", "cookie", "x-api-key", "explain"} & set(asked) == set()
    assert asked["x-top-k"] == "3"


@pytest.mark.parametrize("given", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-URLencoded; charset=x"])
def test_the_type_that_garbles_photos_is_taken_off(client: httpx.Client, given: str) -> None:
    asked = client.post(PREDICT, content=b"photo", headers={"Content-Type": given}).json()

    assert asked["headers"]["content-type"] == "application/octet-stream"


@pytest.mark.parametrize("given", ["abc-1.2_3", "a" * 64])
def test_a_request_id_is_kept(client: httpx.Client, given: str) -> None:
    response = client.post(PREDICT, content=b"photo", headers={"X-Request-Id": given})

    assert response.headers.get_list("x-request-id") == [given]
    assert response.json()["headers"]["x-request-id"] == given


@pytest.mark.parametrize("given", [b"", b"a" * 65, b"a b", b'a"b', "ä".encode()])
def test_a_missing_or_strange_request_id_is_replaced(client: httpx.Client, given: bytes) -> None:
    response = client.post(PREDICT, content=b"photo", headers=[(b"X-Request-Id", given)])

    [made] = response.headers.get_list("x-request-id")
    assert len(made) == 32
    assert response.json()["headers"]["x-request-id"] == made


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_the_handlers_own_problems_pass_unchanged(client: httpx.Client, upstream: Upstream, status: int) -> None:
    upstream.statuses.append(status)

    response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["size"]) == (status, 5)


@pytest.mark.parametrize(
    ("status", "told", "kind"), [(404, 404, "not-found"), (503, 503, "busy"), (504, 504, "timeout")]
)
def test_what_torchserve_says_in_its_own_form_becomes_a_problem(
    client: httpx.Client, upstream: Upstream, status: int, told: int, kind: str
) -> None:
    upstream.statuses.append(status)

    response = client.post(PREDICT, content=b"photo")

    assert_is_problem(response, told, kind)
    assert response.headers.get("retry-after") == ("1" if told == 503 else None)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("failures", [[500], [500, 500], [0], [0, 500], [507], [507, 500], [500, 507]])
def test_a_prediction_whose_worker_died_is_asked_again(
    client: httpx.Client, upstream: Upstream, failures: list[int]
) -> None:
    upstream.statuses.extend(failures)

    response = client.post(PREDICT, content=b"photo")

    assert (response.status_code, response.json()["size"]) == (200, 5)
    assert len(upstream.requests) == len(failures) + 1


def test_a_prediction_that_fails_three_times_is_given_up(client: httpx.Client, upstream: Upstream) -> None:
    upstream.statuses.extend([500] * 3)

    assert_is_problem(client.post(PREDICT, content=b"photo"), 500, "internal")
    assert len(upstream.requests) == 3
    assert client.post(PREDICT, content=b"photo").status_code == 200


def test_a_prediction_that_finds_no_memory_twice_is_given_up(client: httpx.Client, upstream: Upstream) -> None:
    upstream.statuses.extend([507] * 2)

    assert_is_problem(client.post(PREDICT, content=b"photo"), 503, "busy")
    assert [(asked["path"], asked["size"]) for asked in upstream.requests] == [(PREDICT, 5)] * 2


def test_without_torchserve_clients_are_told_to_come_back(nginx: None, tmp_path: Path) -> None:
    with run_front(tmp_path, f"http://127.0.0.1:{free_port()}") as front:
        response = httpx.post(f"{front.url}{PREDICT}", content=b"photo")

    assert_is_problem(response, 503, "busy")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_the_health_pages_are_let_through(front: RunningFront, client: httpx.Client, path: str) -> None:
    assert client.get(path).json() == {"status": "ok"}
    assert client.head(path).status_code == 200
    assert_is_problem(client.post(path), 405, "method-not-allowed")

    front.health.unready_reason = "0 of 2 workers are ready"

    assert (client.get("/readyz").status_code, client.get("/healthz").status_code) == (503, 200)
