"""Requests as TorchServe hands them over."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from handler.request import Request, read_request
from handler.settings import Settings

NUM_LABELS = 60
PHOTO = b"\xff\xd8 a photo"

_BOUNDARY = "------------------------e38fb17e2a91f1c9"


def read(row: Mapping[str, Any], headers: Mapping[str, str] | None = None, **settings: Any) -> Request:
    return read_request(row, headers or {}, msgspec.convert(settings, Settings), NUM_LABELS)


def read_json(body: object, **headers: str) -> Request:
    return read({"body": bytearray(json.dumps(body).encode())}, {"content-type": "application/json", **headers})


def post_form(*parts: tuple[str, bytes, str], **headers: str) -> Request:
    """Read the form of *parts* (name, content, further part headers) as TorchServe hands it over."""
    body = b"".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        for name, content, more in parts
    )
    body += f"--{_BOUNDARY}--\r\n".encode()
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    # TorchServe keeps the last of the parts with one name.
    row = {name: bytearray(content) for name, content, _ in parts}
    return read(row, {"content-length": str(len(body)), "content-type": content_type, **headers})
