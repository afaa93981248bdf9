"""The protocols that fruity answers in: which one a request speaks, and the shape of its answer.

docs/protocols.md has the routes. The reverse proxy and TorchServe lead all of them to this handler.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from handler.answer import Answer, answer_problem
from handler.open_inference import WantedTensors, has_tensors, read_tensors
from handler.problem import MalformedRequest, Problem
from handler.request import DESCRIBE, Request, make_request, read_body, read_request
from handler.settings import Settings
from handler.tensors import answer_tensors, describe_tensors

HEADER = "x-protocol"
"""A header that the reverse proxy sets: the value of a `Protocol`."""


class Protocol(StrEnum):
    FRUITY = "fruity"
    KSERVE_V1 = "kserve-v1"
    OPEN_INFERENCE = "open-inference"
    VERTEX_AI = "vertex-ai"
    GRPC = "grpc"


_HTTP = frozenset({Protocol.KSERVE_V1, Protocol.OPEN_INFERENCE, Protocol.VERTEX_AI})
_WITH_ERROR_TEXT = frozenset({Protocol.KSERVE_V1, Protocol.OPEN_INFERENCE})
"""Their errors are {"error": "…"} instead of a problem document."""


class Call(NamedTuple):
    """One request, or the problem of one that cannot be read, and the protocol for its answer."""

    protocol: Protocol
    request: Request | Problem
    wanted: WantedTensors | None = None
    """Only of a request with tensors."""


def find_protocol(row: Mapping[str, Any], headers: Mapping[str, str]) -> Protocol:
    """Return the protocol of a request; *headers* have lower-case names."""
    # Over HTTP there are always some: TorchServe adds its own.
    if not headers:
        return Protocol.GRPC
    if (named := headers.get(HEADER)) in _HTTP:
        return Protocol(named)
    # TorchServe adds `explain` to requests of its routes below /v1, /v2, /predictions and /explanations, but `url_path`
    # only to those of the last two.
    if "explain" in headers and "url_path" not in headers:
        return Protocol.OPEN_INFERENCE if has_tensors(read_body(row), headers) else Protocol.KSERVE_V1
    return Protocol.FRUITY


def read_call(row: Mapping[str, Any], headers: Mapping[str, str], settings: Settings, num_labels: int) -> Call:
    """Return the request as its protocol has it, or its problem."""
    protocol = find_protocol(row, headers)
    try:
        if protocol == Protocol.GRPC and not row.keys() & {"body", "data"}:
            keys = ", ".join(sorted(row)[:8]) or "none"
            raise MalformedRequest(
                f"the keys of `input` are {keys[:200]}; send the photo, or JSON, as `body` or `data`"
            )
        if protocol != Protocol.OPEN_INFERENCE or headers.get(DESCRIBE) == "True":
            return Call(protocol, read_request(row, headers, settings, num_labels))
        photos, top_k, wanted = read_tensors(read_body(row), headers)
        return Call(protocol, make_request(photos, top_k, headers, settings, num_labels), wanted)
    except Problem as problem:
        return Call(protocol, problem)


def describe_call(call: Call, description: dict[str, Any], *, has_familiarity: bool) -> Answer:
    """Return *description* (of `describe_model`) as the protocol has it."""
    if call.protocol == Protocol.OPEN_INFERENCE:
        return describe_tensors(description, has_familiarity=has_familiarity)
    return Answer(msgspec.json.encode(description))


def answer_call(
    call: Call, request: Request, description: Mapping[str, Any], entries: list[dict[str, Any]], problems: list[Problem]
) -> Answer:
    """Return the answer with *entries*, one a photo, or with *problems* if no photo could be used."""
    if len(problems) == len(entries):
        return _refuse_photos(call, entries, problems)
    model, version = description["model"], description["version"]
    if call.wanted is not None:
        try:
            return answer_tensors(model, version, entries, request.top_k, call.wanted)
        except Problem as problem:
            return refuse_call(call, problem)
    if call.protocol == Protocol.VERTEX_AI:
        return Answer(msgspec.json.encode({"predictions": entries}))
    if call.protocol == Protocol.KSERVE_V1 and request.explain:
        predictions = [{key: value for key, value in entry.items() if key != "heatmap_png"} for entry in entries]
        return Answer(msgspec.json.encode({"predictions": predictions, "explanations": entries}))
    return Answer(msgspec.json.encode({"model": model, "version": version, "predictions": entries}))


def refuse_call(call: Call, problem: Problem) -> Answer:
    """Return the answer to a call that failed as a whole."""
    if call.protocol in _WITH_ERROR_TEXT:
        return Answer(msgspec.json.encode({"error": str(problem)}), problem.status)
    return answer_problem(problem)


def _refuse_photos(call: Call, entries: list[dict[str, Any]], problems: list[Problem]) -> Answer:
    """Return the answer to a call of which no photo could be used: it fails as the first, and lists all."""
    if len(problems) == 1:
        return refuse_call(call, problems[0])
    if call.protocol in _WITH_ERROR_TEXT:
        text = "; ".join(f"{entry['photo']}: {problem}" for entry, problem in zip(entries, problems, strict=True))
        return Answer(msgspec.json.encode({"error": text}), problems[0].status)
    return answer_problem(problems[0], predictions=entries)
