"""Requests of other protocols, as TorchServe hands them over."""

import json
from collections.abc import Sequence
from typing import Any

Row = tuple[dict[str, Any], dict[str, str]]
KSERVE = {"X-Protocol": "kserve-v1", "Content-Type": "application/json", "explain": "False", "url_path": ""}
TENSORS = {**KSERVE, "X-Protocol": "open-inference"}


def over_grpc(**inputs: bytes) -> Row:
    return {name: bytearray(value) for name, value in inputs.items()}, {}


def in_json(body: object, **headers: str) -> Row:
    return {"body": bytearray(json.dumps(body).encode())}, {**TENSORS, **headers}


def in_binary(
    elements: Sequence[bytes], shape: list[int] | None = None, rest: dict[str, Any] | None = None, **headers: str
) -> Row:
    """A request whose tensor is binary, as tritonclient sends it; *rest* are further members of the JSON."""
    binary = b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    tensor: dict[str, Any] = {"name": "photo", "shape": shape or [len(elements)], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(binary)}
    document = json.dumps({"inputs": [tensor], **(rest or {})}).encode()
    body = bytearray(document + binary)
    return {"body": body}, {**TENSORS, "Inference-Header-Content-Length": str(len(document)), **headers}
