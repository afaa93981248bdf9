"""Requests of other protocols get the right labels, or errors, in the shape of their protocol."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from handler.open_inference import WantedTensors
from handler.protocols import Protocol, find_protocol
from handler.request import lower_names
from handler.tensors import answer_tensors, describe_tensors
from tests.handler.calls import KSERVE, Row, in_binary, in_json
from tests.handler.worker import Response, Worker, first_labels, instances, raw

COFFEE, CAT = "espresso", "not food"


@pytest.fixture(scope="module")
def worker(default_folder: Path) -> Worker:
    return Worker(default_folder)


def with_protocol(request: Row, protocol: str, **headers: str) -> Row:
    row, own = request
    return row, {**KSERVE, **own, "X-Protocol": protocol, **headers}


def tensors_of(response: Response) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and elements of each output, wherever its elements are."""
    length = int(response.headers.get("Inference-Header-Content-Length", len(response.body)))
    document, binary = json.loads(response.body[:length]), response.body[length:]
    tensors = {}
    for output in document["outputs"]:
        elements = output.get("data")
        if elements is None:
            size = output["parameters"]["binary_data_size"]
            elements, binary = unpack(output["datatype"], binary[:size]), binary[size:]
        tensors[output["name"]] = (output["datatype"], output["shape"], elements)
    assert binary == b""
    return tensors


def unpack(datatype: str, binary: bytes) -> list[Any]:
    if datatype != "BYTES":
        code, size = {"FP32": ("f", 4), "BOOL": ("?", 1)}[datatype]
        return list(struct.unpack(f"<{len(binary) // size}{code}", binary))
    elements = []
    while binary:
        size = int.from_bytes(binary[:4], "little")
        elements.append(binary[4 : 4 + size].decode())
        binary = binary[4 + size :]
    return elements


@pytest.mark.parametrize(
    ("row", "headers", "protocol"),
    [
        ({"body": b"x"}, {}, Protocol.GRPC),
        ({"body": b"x"}, {"Host": "a"}, Protocol.FRUITY),
        ({"body": b"x"}, {"explain": "False", "url_path": ""}, Protocol.FRUITY),
        # Without the reverse proxy: TorchServe's routes below /v1 and /v2.
        ({"body": b"x"}, {"explain": "False"}, Protocol.KSERVE_V1),
        ({"body": b'{"instances": []}'}, {"explain": "True"}, Protocol.KSERVE_V1),
        ({"body": b'{"inputs": []}'}, {"explain": "False"}, Protocol.OPEN_INFERENCE),
        ({"body": b"x"}, {"explain": "False", "Inference-Header-Content-Length": "1"}, Protocol.OPEN_INFERENCE),
        ({"body": b"{" * 100_000}, {"explain": "False"}, Protocol.KSERVE_V1),
        ({"body": b"x"}, {"X-Protocol": "vertex-ai", "url_path": ""}, Protocol.VERTEX_AI),
        # No client gets what only gRPC needs.
        ({"body": b"x"}, {"X-Protocol": "grpc", "url_path": ""}, Protocol.FRUITY),
        ({"body": b"x"}, {"X-Protocol": "?", "url_path": ""}, Protocol.FRUITY),
    ],
)
def test_the_protocol_of_a_request_is_found(row: dict[str, Any], headers: dict[str, str], protocol: Protocol) -> None:
    assert find_protocol(row, lower_names(headers.items())) == protocol


def test_tensors_get_tensors(worker: Worker, coffee: bytes, cat: bytes) -> None:
    (response,) = worker.answer(in_binary([coffee, b"text", cat], rest={"id": "a", "parameters": {"top_k": 2}}))

    assert (response.status, response.content_type) == (200, "application/json")
    assert "Inference-Header-Content-Length" not in response.headers
    answer = json.loads(response.body)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a", "fruity", "1.2.3")
    tensors = tensors_of(response)
    assert [*tensors] == ["labels", "probabilities", "confident", "error"]
    datatype, shape, labels = tensors["labels"]
    assert (datatype, shape, labels[::2], labels[3]) == ("BYTES", [3, 2], [COFFEE, "", CAT], "")
    datatype, shape, probabilities = tensors["probabilities"]
    assert (datatype, shape, probabilities[2:4]) == ("FP32", [3, 2], [0.0, 0.0])
    assert probabilities[0] > 0.8
    assert tensors["confident"] == ("BOOL", [3], [True, False, True])
    datatype, shape, errors = tensors["error"]
    assert (datatype, shape, errors[::2]) == ("BYTES", [3], ["", ""])
    assert "not an image" in errors[1]


def test_binary_and_json_hold_the_same(worker: Worker, coffee: bytes, cat: bytes) -> None:
    photos = [base64.b64encode(photo).decode() for photo in (coffee, cat, b"text")]
    tensor = {"name": "photo", "shape": [3], "datatype": "BYTES", "data": photos}

    in_text, in_bytes = worker.answer(
        in_json({"inputs": [tensor]}),
        in_binary([coffee, cat, b"text"], rest={"parameters": {"binary_data_output": True}}),
    )

    assert in_bytes.content_type == "application/octet-stream"
    as_text, as_bytes = tensors_of(in_text), tensors_of(in_bytes)
    assert as_bytes.pop("probabilities")[2] == pytest.approx(as_text.pop("probabilities")[2])
    assert as_bytes == as_text


def test_only_the_outputs_that_were_asked_for_come(worker: Worker, coffee: bytes) -> None:
    outputs = [{"name": "confident", "parameters": {"binary_data": True}}, {"name": "labels"}]

    known, unknown = worker.answer(
        in_binary([coffee], rest={"outputs": outputs}), in_binary([coffee], rest={"outputs": [{"name": "scores"}]})
    )

    assert [*tensors_of(known)] == ["confident", "labels"]
    assert unknown.status == 400
    assert "'scores'; the outputs are labels, probabilities, confident, error" in json.loads(unknown.body)["error"]


def test_a_model_that_knows_its_training_photos_says_what_is_unfamiliar() -> None:
    entries: list[dict[str, Any]] = [
        {"photo": "a", "labels": [{"label": "fig", "probability": 0.5}], "confident": False, "unfamiliar": True},
        {"photo": "b", "error": {"detail": "it is broken"}},
    ]
    entries[0]["unfamiliarity"] = 1.5

    answer = answer_tensors("fruity", "1.0.0", entries, 1, WantedTensors(None, None, all_binary=True))
    metadata = json.loads(describe_tensors({"model": "fruity", "version": "1.0.0"}, has_familiarity=True).body)

    tensors = tensors_of(Response((200, "OK"), answer.content_type, answer.body, dict(answer.headers)))
    assert tensors["unfamiliar"] == ("BOOL", [2], [True, False])
    assert tensors["unfamiliarity"] == ("FP32", [2], [1.5, 0.0])
    assert tensors["error"] == ("BYTES", [2], ["", "it is broken"])
    assert {one["name"]: one["datatype"] for one in metadata["outputs"]} == {
        name: datatype for name, (datatype, _, _) in tensors.items()
    }


def test_explained_tensors_have_a_picture_for_each_photo(worker: Worker, coffee: bytes) -> None:
    (response,) = worker.answer(in_binary([coffee, b"text"], explain="True"))

    datatype, shape, heatmaps = tensors_of(response)["heatmap_png"]
    assert (datatype, shape, heatmaps[1]) == ("BYTES", [2], "")
    assert base64.b64decode(heatmaps[0]).startswith(b"\x89PNG")


def test_the_metadata_names_the_tensors_the_labels_and_the_card(worker: Worker) -> None:
    (response,) = worker.answer(in_json({}, describe="True"))

    metadata = json.loads(response.body)
    assert (metadata["name"], metadata["versions"]) == ("fruity", ["1.2.3"])
    assert metadata["inputs"] == [{"name": "photo", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"][0] == {"name": "labels", "datatype": "BYTES", "shape": [-1, -1]}
    parameters = metadata["parameters"]
    assert COFFEE in parameters["labels"]
    assert (len(parameters["labels"]), parameters["input_size"]) == (60, 224)
    assert parameters["card"] == "fruity-1.2.3.md"


@pytest.mark.parametrize("protocol", ["kserve-v1", "vertex-ai", "fruity"])
def test_instances_get_predictions_and_each_photo_its_own_error(
    worker: Worker, coffee: bytes, cat: bytes, protocol: str
) -> None:
    (response,) = worker.answer(with_protocol(instances(coffee, b"text", cat, top_k=1), protocol))

    assert (response.status, response.content_type) == (200, "application/json")
    assert first_labels(response) == [COFFEE, "error 415", CAT]
    members = ["predictions"] if protocol == "vertex-ai" else ["model", "version", "predictions"]
    assert [*json.loads(response.body)] == members


def test_explanations_of_kserve_are_beside_the_predictions(worker: Worker, coffee: bytes) -> None:
    (response,) = worker.answer(with_protocol(instances(coffee, b""), "kserve-v1", explain="True"))

    answer = json.loads(response.body)
    assert first_labels(response) == [COFFEE, "error 400"]
    assert [set(entry) for entry in answer["predictions"]] == [{"photo", "labels", "confident"}, {"photo", "error"}]
    assert base64.b64decode(answer["explanations"][0]["heatmap_png"]).startswith(b"\x89PNG")


# What is sent, and the status and the start of the error text.
FAILED = [
    (in_binary([b"text"]), 415, "these 4 bytes are not"),
    (
        in_binary([b"", b"text"]),
        400,
        "photo[0]: the photo is empty (0 bytes)",
    ),
    (in_json({}), 400, "the JSON is not"),
    (in_binary([b"x"] * 17), 413, "the request has 17 photos, the limit is 16"),
    (in_binary([b"x"], rest={"parameters": {"top_k": 61}}), 400, "top_k is '61'"),
    (in_binary([b"x"], None, None, **{"X-Top-K": "0"}), 400, "top_k is '0'"),
    (with_protocol(instances(b"text"), "kserve-v1"), 415, "these 4 bytes are not"),
    (with_protocol(instances(b"", b"text"), "kserve-v1"), 400, "instances[0]: the photo is empty"),
    (with_protocol(instances(), "kserve-v1"), 400, "`instances` is empty"),
    (with_protocol(raw(b"text"), "kserve-v1"), 415, "these 4 bytes"),
]


def test_a_request_that_fails_gets_an_error_text_and_costs_its_batch_nothing(worker: Worker, coffee: bytes) -> None:
    *failed, good = worker.answer(*(request for request, _, _ in FAILED), in_binary([coffee]))

    for response, (_, status, text) in zip(failed, FAILED, strict=True):
        assert (response.status, response.content_type) == (status, "application/json")
        assert [*json.loads(response.body)] == ["error"]
        assert json.loads(response.body)["error"].startswith(text)
    assert tensors_of(good)["labels"][2][0] == COFFEE


def test_vertex_ai_gets_problem_documents(worker: Worker) -> None:
    (response,) = worker.answer(with_protocol(instances(b"text"), "vertex-ai"))

    assert (response.status, response.content_type) == (415, "application/problem+json")
    assert json.loads(response.body)["type"] == "urn:fruity:not-a-photo"
