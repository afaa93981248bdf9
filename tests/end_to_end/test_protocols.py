"""Clients of other servers ask the real one: tritonclient, what the kserve SDK sends, Vertex AI's contract, gRPC."""

import base64
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import ts
from tritonclient.utils import InferenceServerException

from serving.model_store import ROOT
from serving.torchserve import TorchServe
from tests.docs.code_blocks import read_blocks
from tests.end_to_end.photos import ESPRESSO, NOT_FOOD, cat, coffee
from tests.serving.container.running_proxy import RunningProxy, run_proxy

pytestmark = pytest.mark.server

ROUTE = "/v1/endpoints/1/deployedModels/2"
VERTEX_AI_ROUTES = {"aip_health_route": ROUTE, "aip_predict_route": f"{ROUTE}:predict"}
DOCUMENT = ROOT / "docs" / "protocols.md"


@pytest.fixture(scope="module")
def proxy(server: TorchServe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """The container's reverse proxy before the shared server."""
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed; apt-get install nginx libnginx-mod-http-js installs it")
    with run_proxy(tmp_path_factory.mktemp("proxy"), server.addresses.inference, **VERTEX_AI_ROUTES) as running:
        yield running


@pytest.fixture
def client(proxy: RunningProxy) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(proxy.url.removeprefix("http://")) as connected:
        yield connected


def make_input(*elements: bytes, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("photo", [len(elements)], "BYTES")
    return tensor.set_data_from_numpy(np.array(elements, dtype=np.object_), binary_data=binary)


def encode(*photos: bytes) -> list[dict[str, str]]:
    return [{"b64": base64.b64encode(photo).decode()} for photo in photos]


def first_labels(answer: dict[str, Any]) -> list[str | int]:
    return [
        entry["labels"][0]["label"] if "labels" in entry else entry["error"]["status"]
        for entry in answer["predictions"]
    ]


@pytest.mark.parametrize("version", ["", "1.0.0"])
def test_tritonclient_gets_readiness_metadata_and_labels(client: triton.InferenceServerClient, version: str) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "fruity"
    assert client.is_model_ready("fruity", version)
    metadata = client.get_model_metadata("fruity", version)

    answer = client.infer(
        "fruity", [make_input(coffee(), b"text", cat())], version, request_id="a", parameters={"top_k": 2}
    )

    assert (metadata["name"], metadata["versions"]) == ("fruity", ["1.0.0"])
    assert ESPRESSO in metadata["parameters"]["labels"]
    assert (answer.get_response()["id"], answer.get_response()["model_version"]) == ("a", "1.0.0")
    assert answer.as_numpy("labels")[:, 0].tolist() == [ESPRESSO.encode(), b"", NOT_FOOD.encode()]
    assert answer.as_numpy("probabilities").shape == (3, 2)
    assert answer.as_numpy("probabilities")[[0, 2], 0].min() > 0.8
    assert answer.as_numpy("confident").tolist() == [True, False, True]
    assert [bool(error) for error in answer.as_numpy("error")] == [False, True, False]
    names = [output["name"] for output in metadata["outputs"]]
    assert names == [output["name"] for output in answer.get_response()["outputs"]]


def test_tritonclient_sends_and_gets_json_too(client: triton.InferenceServerClient) -> None:
    tensor = make_input(base64.b64encode(coffee()), binary=False)
    outputs = [triton.InferRequestedOutput("labels", binary_data=False), triton.InferRequestedOutput("confident")]

    answer = client.infer("fruity", [tensor], outputs=outputs)

    assert answer.as_numpy("labels")[0, 0] == ESPRESSO
    assert answer.as_numpy("confident").tolist() == [True]
    assert answer.as_numpy("probabilities") is None


def test_tritonclient_understands_the_errors(client: triton.InferenceServerClient) -> None:
    requests: list[tuple[dict[str, Any], str, str]] = [
        ({"inputs": [make_input(b"text")]}, "415", "not an image"),
        ({"inputs": [make_input(coffee())], "model_version": "9.9.9"}, "404", "not served"),
        ({"inputs": [make_input(coffee())], "parameters": {"top_k": 0}}, "400", "top_k is '0'"),
        ({"inputs": [make_input(coffee())], "outputs": [triton.InferRequestedOutput("x")]}, "400", "output.* 'x'"),
    ]
    for request, status, message in requests:
        with pytest.raises(InferenceServerException, match=message) as raised:
            client.infer("fruity", **request)
        assert raised.value.status() == status
    assert not client.is_model_ready("fruity", "9.9.9")
    assert not client.is_model_ready("pear")


# What kserve 0.21's InferenceRESTClient sends, recorded; its own requirements exclude those of requirements.lock.
def test_the_requests_of_kserves_client_get_their_answers(proxy: RunningProxy) -> None:
    photos = {"instances": encode(coffee(), b"text", cat()), "parameters": {"top_k": 1}}
    content, sent = json.dumps(photos).encode(), {"content-type": "application/json", "accept": "*/*"}
    tensor: dict[str, object] = {"name": "photo", "shape": [2], "datatype": "BYTES"}
    binary = b"".join(len(photo).to_bytes(4, "little") + photo for photo in (coffee(), cat()))
    tensor["parameters"] = {"binary_data_size": len(binary)}
    start = json.dumps({"id": "d6276ffd", "model_name": "fruity", "inputs": [tensor]}).encode()
    binary_sent = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(start))}
    with httpx.Client(base_url=proxy.url, timeout=60) as client:
        ready = client.get("/v1/models/fruity")
        predicted = client.post("/v1/models/fruity:predict", content=content, headers=sent)
        versioned = client.post("/v1/models/fruity/versions/1.0.0:predict", content=content, headers=sent)
        explained = client.post("/v1/models/fruity:explain", content=content, headers=sent)
        refused = client.post("/v1/models/fruity:predict", content=b'{"instances":[{"b64":"eA=="}]}', headers=sent)
        inferred = client.post("/v2/models/fruity/infer", content=start + binary, headers=binary_sent)

    assert ready.json() == {"name": "fruity", "ready": True}
    for response in (predicted, versioned, explained):
        assert first_labels(response.json()) == [ESPRESSO, 415, NOT_FOOD]
    assert [("heatmap_png" in entry) for entry in explained.json()["explanations"]] == [True, False, True]
    assert (refused.status_code, refused.headers["content-type"]) == (415, "application/json")
    assert "not an image" in refused.json()["error"]
    labels = next(output for output in inferred.json()["outputs"] if output["name"] == "labels")
    assert (labels["shape"], labels["data"][0], labels["data"][5]) == ([2, 5], ESPRESSO, NOT_FOOD)


def test_vertex_ai_gets_readiness_and_predictions_at_its_routes(proxy: RunningProxy) -> None:
    with httpx.Client(base_url=proxy.url, timeout=60) as client:
        ready = client.get(ROUTE)
        answer = client.post(f"{ROUTE}:predict", json={"instances": encode(coffee(), b"text", cat())})
        refused = client.post(f"{ROUTE}:predict", json={"instances": encode(b"text")})

    assert ready.status_code == 200
    assert [*answer.json()] == ["predictions"]
    assert first_labels(answer.json()) == [ESPRESSO, 415, NOT_FOOD]
    assert (refused.status_code, refused.json()["type"]) == (415, "urn:fruity:not-a-photo")


def test_a_plain_server_answers_the_routes_that_torchserve_knows(server: TorchServe) -> None:
    tensor = {"name": "photo", "shape": [1], "datatype": "BYTES", "data": [encode(coffee())[0]["b64"]]}
    with httpx.Client(base_url=server.addresses.inference, timeout=60) as client:
        predicted = client.post("/v1/models/fruity:predict", json={"instances": encode(coffee(), b"text")})
        refused = client.post("/v1/models/fruity:predict", json={"instances": []})
        inferred = client.post("/v2/models/fruity/infer", json={"inputs": [tensor]})
        own = client.post("/predictions/fruity", json={"instances": []})

    assert first_labels(predicted.json()) == [ESPRESSO, 415]
    assert (refused.status_code, [*refused.json()]) == (400, ["error"])
    assert inferred.json()["outputs"][0]["data"][0] == ESPRESSO
    assert own.json()["type"] == "urn:fruity:malformed-request"


@pytest.fixture
def grpc_port(server: TorchServe) -> str:
    properties = server._config.read_text()
    found = re.search(r"^grpc_inference_port=(\d+)$", properties, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, ModuleType]:
    """TorchServe's own messages and services."""
    folder = tmp_path_factory.mktemp("stubs")
    with zipfile.ZipFile(Path(ts.__file__).parent / "frontend" / "model-server.jar") as jar:
        jar.extract("inference.proto", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        messages, services = grpc.protos_and_services("inference.proto")
    return messages, services


def test_a_photos_problem_over_grpc_is_no_success_and_costs_no_worker(
    server: TorchServe, management: httpx.Client, grpc_port: str, stubs: tuple[ModuleType, ModuleType]
) -> None:
    messages, services = stubs

    def find_workers() -> list[int]:
        return sorted(worker["pid"] for worker in management.get("/models/fruity").json()[0]["workers"])

    before = find_workers()
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        stub = services.InferenceAPIsServiceStub(channel)
        for key in ("body", "data"):
            request = messages.PredictionsRequest(model_name="fruity", input={key: coffee()})
            assert first_labels(json.loads(stub.Predictions(request, timeout=60).prediction)) == [ESPRESSO]
        (streamed,) = stub.StreamPredictions(request, timeout=60)
        for ask in (stub.Predictions, lambda *args, **more: list(stub.StreamPredictions(*args, **more))):
            with pytest.raises(grpc.RpcError) as raised:
                ask(messages.PredictionsRequest(model_name="fruity", input={"data": b"text"}), timeout=60)
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert json.loads(raised.value.details().splitlines()[0])["type"] == "urn:fruity:not-a-photo"

    assert first_labels(json.loads(streamed.prediction)) == [ESPRESSO]
    assert find_workers() == before


@pytest.mark.parametrize("number", [1, 2])
def test_the_examples_of_the_document_print_the_label(
    number: int,
    proxy: RunningProxy,
    grpc_port: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The first one needs kserve.
    example = read_blocks(DOCUMENT, "py")[number]
    (tmp_path / "photo.jpg").write_bytes(coffee())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    exec(example.replace("7070", grpc_port).replace("8080", str(proxy.port)), {})  # noqa: S102, ours

    assert ESPRESSO in capsys.readouterr().out
