"""The reverse proxy leads the paths of other protocols to TorchServe, and its own errors come in their shape."""

import hashlib
from pathlib import Path

import httpx
import pytest

from serving.readiness import NotReady
from serving.rollout.traffic import find_proxy, send_share
from tests.serving.container.running_proxy import PREDICT, RunningProxy, run_proxy
from tests.serving.container.upstream import Upstream

EXPLAIN = "/explanations/fruity"
# Where a POST to a path reaches TorchServe, and with which protocol.
POSTED = {
    "/v1/models/fruity:predict": (PREDICT, "kserve-v1"),
    "/v1/models/fruity:explain": (EXPLAIN, "kserve-v1"),
    "/v1/models/fruity/versions/1.0.0:predict": (f"{PREDICT}/1.0.0", "kserve-v1"),
    "/v2/models/fruity/infer": (PREDICT, "open-inference"),
    "/v2/models/fruity/versions/2.0.0/infer": (f"{PREDICT}/2.0.0", "open-inference"),
}
DESCRIBED = {
    "/v2/models/fruity": PREDICT,
    "/v2/models/fruity/versions/1.0.0": f"{PREDICT}/1.0.0",
    "/v2/models/fruity/versions/1.0.0/ready": f"{PREDICT}/1.0.0",
}
NOT_FOUND = [
    "/v1", "/v1/", "/v1/models/", "/v1/models/pear", "/v1/models/fruity:train", "/v1/models/fruity:predict/x",
    "/v1/models/fruity/versions/latest:predict", "/v1/models/fruity/versions/1.0.0", "/v1/models/fruity/1.0.0:predict",
    "/v1/models/fruity/versions/1..0:predict", "/v2/", "/v2/health", "/v2/models", "/v2/models/pear/infer",
    "/v2/models/fruity/explain", "/v2/models/fruity/1.0.0/infer", "/v2/models/fruity/versions/x/infer",
    "/v2/models/fruity/versions/1.0.0/", "/v2/repository/index", "/v2/models/fruity/config", "/v2/logging",
]  # fmt: skip
PROBES: dict[str, dict[str, object]] = {
    "/v1/models/fruity": {"name": "fruity", "ready": True},
    "/v2/health/ready": {"ready": True},
    "/v2/models/fruity/ready": {"name": "fruity", "ready": True},
}


def assert_is_error(response: httpx.Response, status: int) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert [*response.json()] == ["error"]
    assert response.json()["error"].strip()


def test_the_routes_of_other_protocols_reach_torchserve_with_their_protocol(client: httpx.Client) -> None:
    posted = {path: client.post(f"{path}?a=b", content=b"photo").json() for path in POSTED}
    described = {path: client.get(path).json() for path in DESCRIBED}

    assert {path: (asked["path"], asked["headers"]["x-protocol"]) for path, asked in posted.items()} == POSTED
    assert {(asked["method"], asked["size"]) for asked in posted.values()} == {("POST", 5)}
    assert {path: asked["path"] for path, asked in described.items()} == DESCRIBED
    assert {(asked["headers"]["describe"], asked["headers"]["x-protocol"]) for asked in described.values()} == {
        ("True", "open-inference")
    }


def test_a_client_cannot_choose_the_protocol_by_a_header(client: httpx.Client) -> None:
    for path, protocol in ((PREDICT, None), ("/v2/models/fruity/infer", "open-inference")):
        asked = client.post(path, content=b"photo", headers={"X-Protocol": "vertex-ai"}).json()

        assert asked["headers"].get("x-protocol") == protocol


def test_the_lists_of_models_and_extensions_are_known_without_the_model(
    client: httpx.Client, upstream: Upstream
) -> None:
    assert client.get("/v1/models").json() == {"models": ["fruity"]}
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert upstream.requests == []


@pytest.mark.parametrize("draining", [False, True])
def test_every_other_path_below_v1_and_v2_is_not_found(
    client: httpx.Client, upstream: Upstream, tmp_path: Path, draining: bool
) -> None:
    if draining:
        (tmp_path / "run" / "draining").touch()

    for path in NOT_FOUND:
        for method in ("GET", "POST"):
            assert_is_error(client.request(method, path), 404)

    assert upstream.requests == []


def test_other_methods_are_refused_with_those_that_are_allowed(client: httpx.Client, upstream: Upstream) -> None:
    for path in POSTED:
        for method in ("GET", "PUT", "DELETE"):
            response = client.request(method, path)
            assert_is_error(response, 405)
            assert response.headers["allow"] == "POST"
    for path in (*DESCRIBED, *PROBES, "/v1/models", "/v2"):
        response = client.post(path, content=b"photo")
        assert_is_error(response, 405)
        assert response.headers["allow"] == ("GET" if path in DESCRIBED else "GET, HEAD")
    assert {client.head(path).status_code for path in DESCRIBED} == {405}
    assert {client.head(path).status_code for path in (*PROBES, "/v1/models", "/v2")} == {200}
    assert upstream.requests == []


def time_out() -> dict[str, int]:
    raise NotReady("timed out")


def test_readiness_and_liveness_are_those_of_the_supervisor(proxy: RunningProxy, client: httpx.Client) -> None:
    ready = {path: client.get(path) for path in PROBES}
    proxy.health.unready_reason = "1 of 2 workers are ready"
    unready = {path: client.get(path) for path in PROBES}
    for _ in range(3):
        proxy.health.check(time_out)
    proxy.health.clock = lambda: 1e9

    assert {path: (answer.status_code, answer.json()) for path, answer in ready.items()} == {
        path: (200, members) for path, members in PROBES.items()
    }
    for path, answer in unready.items():
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/json")
        assert answer.json() == {**PROBES[path], "ready": False, "error": "1 of 2 workers are ready"}
    stuck = client.get("/v2/health/live?x=1")
    assert (stuck.status_code, stuck.json()["live"]) == (503, False)


@pytest.mark.parametrize(("status", "expected"), [(404, 404), (500, 500), (503, 503), (504, 504), (507, 503)])
def test_errors_of_torchserve_come_in_the_shape_of_the_protocol(
    client: httpx.Client, upstream: Upstream, status: int, expected: int
) -> None:
    for path in ("/v1/models/fruity:predict", "/v2/models/fruity/infer"):
        upstream.statuses.extend([status] * 3)
        response = client.post(path, content=b"photo")
        upstream.statuses.clear()

        assert_is_error(response, expected)


def test_a_body_above_the_limit_is_refused_in_the_shape_of_the_protocol(client: httpx.Client) -> None:
    assert_is_error(client.post("/v2/models/fruity/infer", content=bytes(34_000_000)), 413)


def test_api_keys_are_needed_for_photos_and_metadata_but_not_for_probes(
    nginx: None, upstream: Upstream, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"alice {hashlib.sha256(b'key').hexdigest()}\n")
    with (
        run_proxy(tmp_path, upstream.url, api_keys=keys, aip_predict_route="/p", aip_health_route="/h") as proxy,
        httpx.Client(base_url=proxy.url) as client,
    ):
        for path in POSTED:
            assert_is_error(client.post(path, content=b"photo"), 401)
            assert client.post(path, content=b"photo", headers={"X-API-Key": "key"}).status_code == 200
        for path in (*DESCRIBED, "/v1/models", "/v2"):
            assert_is_error(client.get(path), 401)
            assert client.get(path, headers={"X-API-Key": "key"}).status_code == 200
        assert client.post("/p", content=b"photo").status_code == 401
        assert {client.get(path).status_code for path in (*PROBES, "/h")} == {200}


def test_limits_and_canary_hold_for_the_routes_of_other_protocols(
    nginx: None, upstream: Upstream, tmp_path: Path
) -> None:
    with run_proxy(tmp_path, upstream.url, requests_per_client=1) as proxy:
        refused = [httpx.post(f"{proxy.url}/v1/models/fruity:predict", content=b"photo") for _ in range(12)][-1]
        assert_is_error(refused, 429)
        assert refused.headers["retry-after"] == "1"

    canary = tmp_path / "canary"
    canary.mkdir()
    with run_proxy(canary, upstream.url) as proxy:
        folder = find_proxy(canary / "run" / "config.properties")
        assert folder is not None
        with send_share(folder, "1.1.0", 1.0, 60):
            asked = httpx.post(f"{proxy.url}/v2/models/fruity/infer", content=b"photo").json()

    assert (asked["path"], asked["headers"]["x-protocol"]) == (f"{PREDICT}/1.1.0", "open-inference")


# The health route, the predict route, and the protocol of the predict route's answers.
ROUTES = [
    ("/v1/endpoints/1/deployedModels/2", "/v1/endpoints/1/deployedModels/2:predict"),
    ("/ping", "/invocations"),
    ("/", "/"),
    ("/readyz", PREDICT),
    ("/v1/models/fruity", "/v1/models/fruity:predict"),
    ("/healthz", "/a.b"),
]


@pytest.mark.parametrize(("health", "predict"), ROUTES)
def test_vertex_ai_chooses_its_routes(
    nginx: None, upstream: Upstream, tmp_path: Path, health: str, predict: str
) -> None:
    with (
        run_proxy(tmp_path, upstream.url, aip_health_route=health, aip_predict_route=predict) as proxy,
        httpx.Client(base_url=proxy.url) as client,
    ):
        asked = client.post(predict, json={"instances": []}).json()
        ready = client.get(health)
        proxy.health.unready_reason = "starting"
        unready = client.get("/readyz" if health == "/healthz" else health)
        refused = client.post("/secret")

    assert (asked["path"], asked["headers"]["x-protocol"]) == (PREDICT, "vertex-ai")
    assert (ready.status_code, unready.status_code, refused.status_code) == (200, 503, 404)


def test_errors_at_the_route_of_vertex_ai_are_problem_documents(
    nginx: None, upstream: Upstream, tmp_path: Path
) -> None:
    with run_proxy(tmp_path, upstream.url, aip_predict_route="/v1/models/fruity:predict") as proxy:
        refused = httpx.post(f"{proxy.url}/v1/models/fruity:predict", content=bytes(34_000_000))

    assert refused.json()["type"] == "urn:fruity:too-large"
