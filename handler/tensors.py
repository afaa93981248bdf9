"""Answers of the Open Inference Protocol: what each output holds, in JSON or binary. Axes: N photos, K class."""

import base64
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from handler.answer import Answer
from handler.open_inference import LENGTH, WantedTensors
from handler.problem import MalformedRequest

_STRUCT_CODES = {"FP32": "f", "BOOL": "?"}


class _Tensor(NamedTuple):
    datatype: str
    shape: tuple[int, ...]
    elements: Sequence[Any]
    """Strings, floats or booleans; bytes, which are base64 in JSON."""


def describe_tensors(document: dict[str, Any], *, has_familiarity: bool) -> Answer:
    """Return the metadata of the model; *document* is its description (`answer.describe_model`)."""
    outputs = [("labels", "BYTES", [-1, -1]), ("probabilities", "FP32", [-1, -1]), ("confident", "BOOL", [-1])]
    if has_familiarity:
        outputs += [("unfamiliar", "BOOL", [-1]), ("unfamiliarity", "FP32", [-1])]
    outputs.append(("error", "BYTES", [-1]))
    metadata = {
        "name": document["model"],
        "versions": [document["version"]],
        "platform": "torchserve",
        "inputs": [{"name": "photo", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in outputs],
        "parameters": {key: value for key, value in document.items() if key not in ("model", "version")},
    }
    return Answer(msgspec.json.encode(metadata))


def answer_tensors(
    model: str, version: str, entries: list[dict[str, Any]], top_k: int, wanted: WantedTensors
) -> Answer:
    """Return the outputs for *entries*, one a photo; raise `MalformedRequest` if another output is wanted."""
    tensors = _make_tensors(entries, top_k)
    names = list(tensors) if wanted.binary is None else list(wanted.binary)
    if unknown := [name for name in names if name not in tensors]:
        raise MalformedRequest(
            f"an unknown output is wanted, {unknown[0][:40]!r}; the outputs are {', '.join(tensors)}"
        )
    outputs, chunks = [], list[bytes]()
    for name in names:
        tensor = tensors[name]
        output: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.shape}
        if wanted.all_binary if wanted.binary is None else wanted.binary[name]:
            chunks.append(_pack(tensor))
            output["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            output["data"] = tensor.elements
        outputs.append(output)
    document = {"model_name": model, "model_version": version, "outputs": outputs}
    # msgspec encodes bytes as base64.
    header = msgspec.json.encode(document if wanted.id is None else {"id": wanted.id, **document})
    if not chunks:
        return Answer(header)
    return Answer(
        b"".join([header, *chunks]), content_type="application/octet-stream", headers=((LENGTH, str(len(header))),)
    )


def _make_tensors(entries: list[dict[str, Any]], top_k: int) -> dict[str, _Tensor]:
    """Return the outputs by name; a photo that cannot be used has empty labels and its `error`."""
    num_photos = len(entries)
    usable = [entry for entry in entries if "error" not in entry]
    labels_NK = [entry.get("labels") or [{"label": "", "probability": 0.0}] * top_k for entry in entries]
    tensors = {
        "labels": _Tensor("BYTES", (num_photos, top_k), [one["label"] for row in labels_NK for one in row]),
        "probabilities": _Tensor("FP32", (num_photos, top_k), [one["probability"] for row in labels_NK for one in row]),
        "confident": _Tensor("BOOL", (num_photos,), [entry.get("confident", False) for entry in entries]),
    }
    if any("unfamiliar" in entry for entry in usable):
        unfamiliar = [entry.get("unfamiliar", False) for entry in entries]
        tensors["unfamiliar"] = _Tensor("BOOL", (num_photos,), unfamiliar)
        distances = [entry.get("unfamiliarity", 0.0) for entry in entries]
        tensors["unfamiliarity"] = _Tensor("FP32", (num_photos,), distances)
    if any("heatmap_png" in entry for entry in usable):
        heatmaps = [base64.b64decode(entry.get("heatmap_png", "")) for entry in entries]
        tensors["heatmap_png"] = _Tensor("BYTES", (num_photos,), heatmaps)
    errors = [entry["error"]["detail"] if "error" in entry else "" for entry in entries]
    return {**tensors, "error": _Tensor("BYTES", (num_photos,), errors)}


def _pack(tensor: _Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        elements = [one if isinstance(one, bytes) else one.encode() for one in tensor.elements]
        return b"".join(struct.pack("<I", len(one)) + one for one in elements)
    return struct.pack(f"<{len(tensor.elements)}{_STRUCT_CODES[tensor.datatype]}", *tensor.elements)
