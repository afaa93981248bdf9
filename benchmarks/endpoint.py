"""Where photos are sent and in which form, and how an answer is read."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import httpx

TIMEOUT_S = 60.0

Form = Literal["raw", "multipart", "json"]


@dataclass(frozen=True)
class Photo:
    """What is sent, and the label that the answer must name first; None accepts any answer with status 200."""

    name: str
    body: bytes
    label: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """Where photos are sent, and how."""

    url: str
    labels: frozenset[str] = frozenset()
    """All labels of the model: the first of them in an answer is the predicted one."""
    form: Form = "raw"
    field: str = "photo"


class Message(NamedTuple):
    """A photo's request, and its right label."""

    body: bytes
    content_type: str
    label: str | None


def encode_photo(endpoint: Endpoint, photo: Photo) -> Message:
    match endpoint.form:
        case "raw":
            return Message(photo.body, "image/jpeg", photo.label)
        case "json":
            text = json.dumps({endpoint.field: base64.b64encode(photo.body).decode()})
            return Message(text.encode(), "application/json", photo.label)
        case "multipart":
            files = {endpoint.field: ("photo.jpg", photo.body, "image/jpeg")}
            request = httpx.Request("POST", endpoint.url, files=files)
            return Message(request.read(), request.headers["Content-Type"], photo.label)


def read_answer(content: bytes, labels: frozenset[str]) -> tuple[str | None, str]:
    """Return the first of *labels* in a JSON answer, as a key or a value, and the version that it names, or ""."""
    try:
        answer = json.loads(content)
    except ValueError:
        return None, ""
    version = answer.get("version", "") if isinstance(answer, dict) else ""
    return next((text for text in _texts(answer) if text in labels), None), str(version)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([text for item in value.items() for text in item])
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
