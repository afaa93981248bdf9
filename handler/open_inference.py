"""The Open Inference Protocol (version 2 of KServe's) over HTTP: tensors in, tensors out. Axes: N photos, K class.

Source: https://github.com/kserve/open-inference-protocol, and for binary tensors Triton's extension:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import base64
import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

from handler.base64_photo import decode_base64
from handler.problem import MalformedRequest, Problem
from handler.request import TOP_K, NamedPhoto, parse_whole_number
from handler.spec import INVALID_JSON

LENGTH = "Inference-Header-Content-Length"
"""A header: how many bytes of the body are JSON; the binary tensors follow."""

_INPUT = "photo"
_SIZE_BYTES = 4
_MIN_TEXT = 64
_EXAMPLE = '{"inputs": [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": ["…base64…"]}]}'


class _InputParameters(msgspec.Struct, frozen=True):
    binary_data_size: int | None = None
    shared_memory_region: str | None = None


class _Input(msgspec.Struct, frozen=True):
    name: str
    shape: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], msgspec.Meta(max_length=8)]
    datatype: str
    parameters: _InputParameters | None = None
    data: list[Any] | None = None


class _OutputParameters(msgspec.Struct, frozen=True):
    binary_data: bool | None = None
    classification: int | None = None
    shared_memory_region: str | None = None


class _Output(msgspec.Struct, frozen=True):
    name: str
    parameters: _OutputParameters | None = None


class _Parameters(msgspec.Struct, frozen=True):
    binary_data_output: bool = False
    top_k: int | None = None


class _Body(msgspec.Struct, frozen=True):
    inputs: list[_Input]
    id: str | None = None
    parameters: _Parameters | None = None
    outputs: list[_Output] | None = None


class WantedTensors(NamedTuple):
    """What the answer to a request of tensors is made of."""

    id: str | None
    binary: Mapping[str, bool] | None
    """For each output that was asked for, whether it comes as a binary tensor; None: all of them."""
    all_binary: bool


class TensorRequest(NamedTuple):
    photos: list[NamedPhoto]
    top_k: int | None
    wanted: WantedTensors


def has_tensors(body: bytes | bytearray, headers: Mapping[str, str]) -> bool:
    """Return whether *body* is a request of this protocol rather than one of KServe's version 1."""
    if LENGTH.lower() in headers:
        return True
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw]).keys() >= {"inputs"}
    except INVALID_JSON:
        return False


def read_tensors(body: bytes | bytearray, headers: Mapping[str, str]) -> TensorRequest:
    """Return the photos of *body*, whose input `photo` has an element of BYTES for each; raise `MalformedRequest`."""
    length = _read_length(headers.get(LENGTH.lower()), len(body))
    try:
        parsed = msgspec.json.decode(body[:length], type=_Body)
    except INVALID_JSON as error:
        raise MalformedRequest(f"the JSON is not {_EXAMPLE}: {error}") from error
    parameters = parsed.parameters or _Parameters()
    wanted = WantedTensors(parsed.id, _read_outputs(parsed, parameters), parameters.binary_data_output)
    return TensorRequest(_read_photos(parsed.inputs, body[length:]), parameters.top_k, wanted)


def _read_length(text: str | None, size: int) -> int:
    if text is None:
        return size
    length = parse_whole_number(text)
    if length is None or not 0 < length <= size:
        raise MalformedRequest(
            f"{LENGTH} is {text[:40]!r}, it must be the length of the JSON at the start of the "
            f"body, which has {size:,} bytes"
        )
    return length


def _read_photos(inputs: list[_Input], binary: bytes | bytearray) -> list[NamedPhoto]:
    if [one.name for one in inputs] != [_INPUT]:
        names = ", ".join(one.name[:40] for one in inputs[:8]) or "none"
        raise MalformedRequest(f"the inputs are {names}; send one, named {_INPUT}")
    (tensor,) = inputs
    if tensor.datatype != "BYTES":
        raise MalformedRequest(f"the datatype is {tensor.datatype[:40]!r}, it must be BYTES: a photo as a file has it")
    parameters = tensor.parameters or _InputParameters()
    if parameters.shared_memory_region is not None:
        raise MalformedRequest("shared memory is not supported; send the photos in the request")
    photos: list[bytes | bytearray | Problem]
    if parameters.binary_data_size is None:
        if binary:
            raise MalformedRequest(f"{len(binary):,} bytes follow the JSON; their tensor has no binary_data_size")
        photos = [_decode(element) for element in _flatten(tensor.data or [])]
    elif parameters.binary_data_size != len(binary):
        raise MalformedRequest(
            f"binary_data_size is {parameters.binary_data_size:,}, but {len(binary):,} bytes follow the JSON"
        )
    else:
        photos = [_decode_text(element) for element in _split(binary)]
    if math.prod(tensor.shape) != len(photos):
        raise MalformedRequest(f"the shape is {tensor.shape}, but the tensor has {len(photos)} elements")
    if not photos:
        raise MalformedRequest("the tensor is empty; send at least one photo")
    return [NamedPhoto(f"{_INPUT}[{i}]", photo) for i, photo in enumerate(photos)]


def _flatten(data: list[Any]) -> list[Any]:
    """Return the elements of nested lists; data may be nested as its shape is."""
    elements, pending = list[Any](), [iter(data)]
    while pending:
        for element in pending[-1]:
            if isinstance(element, list):
                pending.append(iter(element))
                break
            elements.append(element)
        else:
            pending.pop()
    return elements


def _decode(element: object) -> bytes | Problem:
    if not isinstance(element, str):
        raise MalformedRequest("an element of `data` is not a string; in JSON a photo is base64")
    return decode_base64(element)


def _split(binary: bytes | bytearray) -> list[bytes | bytearray]:
    """Return the elements of a binary tensor of BYTES: each has its length before it, 4 bytes little-endian."""
    elements, position = list[bytes | bytearray](), 0
    while position < len(binary):
        start = position + _SIZE_BYTES
        position = start + int.from_bytes(binary[position:start], "little")
        if position > len(binary):
            raise MalformedRequest(f"element {len(elements)} of the binary tensor is longer than the tensor")
        elements.append(binary[start:position])
    return elements


def _decode_text(element: bytes | bytearray) -> bytes | bytearray:
    """Return the photo in *element*, which some clients send as base64 in binary tensors as well."""
    # Every format has a byte that base64 has not among its first 64, and no photo is shorter.
    if len(element) < _MIN_TEXT or not element[:_MIN_TEXT].translate(None, b"+/").isalnum():
        return element
    try:
        return base64.b64decode(element, validate=True)
    except ValueError:
        return element


def _read_outputs(body: _Body, parameters: _Parameters) -> dict[str, bool] | None:
    if not body.outputs:
        return None
    wanted = {}
    for output in body.outputs:
        options = output.parameters or _OutputParameters()
        if options.classification is not None or options.shared_memory_region is not None:
            raise MalformedRequest(
                f"classification and shared memory are not supported; ask for `labels`, with `{TOP_K}` in `parameters`"
            )
        default = parameters.binary_data_output
        wanted[output.name] = default if options.binary_data is None else options.binary_data
    return wanted
