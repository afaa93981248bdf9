"""One photo as an HTTP/1.1 request, and the label in its answer."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

_BOUNDARY = "fruity-benchmark"


@dataclass(frozen=True)
class Photo:
    """What is sent, and the label that the answer must put first; None: any answer with status 200 is right."""

    name: str
    body: bytes
    label: str | None = None


@dataclass(frozen=True)
class Target:
    """Where photos are sent, and how."""

    url: str
    labels: frozenset[str] = frozenset()
    """All labels of the model: the first of them in an answer is what the server says."""
    form: Literal["raw", "multipart", "json"] = "raw"
    field: str = "photo"
    """The photo's name in a form or a JSON object."""

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 80


def encode_request(target: Target, photo: Photo) -> bytes:
    """Return the whole request, ready to be written to a socket."""
    body, content_type = _encode_body(target, photo)
    parts = urlsplit(target.url)
    head = (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _encode_body(target: Target, photo: Photo) -> tuple[bytes, str]:
    match target.form:
        case "raw":
            return photo.body, "image/jpeg"
        case "json":
            return json.dumps({target.field: base64.b64encode(photo.body).decode()}).encode(), "application/json"
        case "multipart":
            head = (
                f"--{_BOUNDARY}\r\nContent-Disposition: form-data; "
                f'name="{target.field}"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
            )
            body = head.encode() + photo.body + f"\r\n--{_BOUNDARY}--\r\n".encode()
            return body, f"multipart/form-data; boundary={_BOUNDARY}"


def read_label(answer: bytes, labels: frozenset[str]) -> str | None:
    """Return the first of *labels* in the JSON *answer*, as a key or as a value; None if there is none."""
    try:
        parsed = json.loads(answer)
    except ValueError:
        return None
    return next((text for text in _texts(parsed) if text in labels), None)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)
