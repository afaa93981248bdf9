"""Where photos are sent and in which form, and how an answer is read."""

import base64
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

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
    url: str
    labels: frozenset[str] = frozenset()  # all labels of the model: the first of them in an answer is the predicted one
    form: Form = "raw"  # a form and JSON hold the photo as `photo`


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
            text = json.dumps({"photo": base64.b64encode(photo.body).decode()})
            return Message(text.encode(), "application/json", photo.label)
        case "multipart":
            files = {"photo": ("photo.jpg", photo.body, "image/jpeg")}
            request = httpx.Request("POST", endpoint.url, files=files)
            return Message(request.read(), request.headers["Content-Type"], photo.label)


def read_answer(content: bytes, labels: frozenset[str]) -> tuple[str | None, str]:
    """Return the first of *labels* in a JSON answer, as a key or a value, and the version that it names, or ""."""
    try:
        texts = [json.loads(text) for text in re.findall(r'"(?:[^"\\]|\\.)*"', content.decode(errors="replace"))]
    except ValueError:
        return None, ""
    version = next((value for key, value in pairwise(texts) if key == "version"), "")
    return next((text for text in texts if text in labels), None), version
