import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from serving.management import Management, ManagementError, UnknownVersion, Unreachable, open_server, read_reason

DESCRIPTION = {
    "modelVersion": "1.1.0",
    "modelUrl": "fruity-1.1.0.mar",
    "minWorkers": 2,
    "responseTimeout": 30,
    "workers": [
        {"id": "9000", "pid": 11, "status": "READY", "startTime": "2026-01-02T00:00:00Z"},
        {"id": "9001", "pid": 12, "status": "UNLOADING", "startTime": "2026-01-01T00:00:00Z"},
    ],
    "jobQueueStatus": {"pendingRequests": 3, "remainingCapacity": 97},
}
KEYS = {name: {"key": f"{name}-key", "expiration time": "2026-01-01T00:00:00Z"} for name in ("management", "inference")}


def manage(answer: Callable[[httpx.Request], httpx.Response]) -> Management:
    return Management(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://server"))


def test_a_version_is_described_as_torchserve_sees_it() -> None:
    version = manage(lambda request: httpx.Response(200, json=[DESCRIPTION])).describe("1.1.0")

    assert (version.model_version, version.model_url, version.response_timeout) == ("1.1.0", "fruity-1.1.0.mar", 30)
    assert (version.ready_workers, version.is_ready, version.job_queue_status.pending_requests) == (1, False, 3)
    assert version.loaded_at == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("act", "request_line"),
    [
        (lambda api: api.list_versions(), "GET /models/fruity/all"),
        (lambda api: api.describe(), "GET /models/fruity"),
        (lambda api: api.register("fruity-1.1.0.mar"), "POST /models?url=fruity-1.1.0.mar&synchronous=true"),
        (lambda api: api.promote("1.1.0"), "PUT /models/fruity/1.1.0/set-default"),
        (lambda api: api.unregister("1.1.0"), "DELETE /models/fruity/1.1.0"),
        (lambda api: api.scale("1.1.0", 3), "PUT /models/fruity/1.1.0?min_worker=3&max_worker=3&synchronous=true"),
    ],
)
def test_each_verb_is_one_request(act: Callable[[Management], object], request_line: str) -> None:
    lines = []

    def answer(request: httpx.Request) -> httpx.Response:
        lines.append(f"{request.method} {request.url.raw_path.decode()}")
        return httpx.Response(200, json=[DESCRIPTION])

    act(manage(answer))

    assert lines == [request_line]


@pytest.mark.parametrize(
    ("act", "name"),
    [(lambda api: api.promote("1.1.0"), r"fruity 1\.1\.0 is not"), (lambda api: api.describe(), "fruity is not")],
)
def test_an_unknown_version_is_told_from_other_failures(act: Callable[[Management], object], name: str) -> None:
    with pytest.raises(UnknownVersion, match=name):
        act(manage(lambda request: httpx.Response(404)))


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(409, json={"message": "already registered"}), "409: already registered"),
        (httpx.Response(404, json={"message": "not found at: x.mar"}), "404: not found at: x.mar"),
        (httpx.Response(500, text="oh"), "500: oh"),
        (httpx.Response(400, json={"type": "InvalidKeyException"}), r"token of key_file\.json.* 60 minutes"),
    ],
)
def test_the_reason_of_a_refusal_is_told(response: httpx.Response, reason: str) -> None:
    with pytest.raises(ManagementError, match=reason):
        manage(lambda request: response).register("x.mar")


@pytest.mark.parametrize(
    ("body", "reason"),
    [('{"detail": "a"}', "a"), ('{"message": "b"}', "b"), ('{"c": 1}', "{'c': 1}"), ("[1]", "[1]"), ("text", "text")],
)
def test_the_reason_is_found_in_any_body(body: str, reason: str) -> None:
    assert read_reason(httpx.Response(500, text=body)) == reason


def write_config(folder: Path) -> Path:
    config = folder / "config.properties"
    lines = [f"{name}_address=http://127.0.0.1:1" for name in ("inference", "management", "metrics")]
    lines += ["model_store=store", "disable_token_authorization=false"]
    config.write_text("\n".join(lines) + "\n")
    return config


def test_each_token_goes_to_its_own_listener_only(tmp_path: Path) -> None:
    (tmp_path / "key_file.json").write_text(json.dumps(KEYS))

    with open_server(write_config(tmp_path), tmp_path) as server:
        assert server.store == tmp_path / "store"
        assert server.inference.headers["Authorization"] == "Bearer inference-key"
        assert server.management._client.headers["Authorization"] == "Bearer management-key"
        assert "Authorization" not in server.metrics.headers
        with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1"):
            server.management.describe()


@pytest.mark.parametrize("name", ["metrics_address", "model_store"])
def test_a_line_that_the_configuration_lacks_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "key_file.json").write_text(json.dumps(KEYS))
    config = write_config(tmp_path)
    config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith(name)))

    with pytest.raises(ManagementError, match=rf"config\.properties has no line for {name}"):
        open_server(config, tmp_path).__enter__()


@pytest.mark.parametrize("content", [None, "", "[]", '{"management": {"key": "a"}}', '{"management": {}}'])
def test_a_key_file_that_is_missing_or_malformed_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "key_file.json").write_text(content)

    with pytest.raises(ManagementError, match=r"key_file\.json"):
        open_server(write_config(tmp_path), tmp_path).__enter__()
