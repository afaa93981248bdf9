"""Where corrections are sent: POST /corrections, at a unix socket behind the reverse proxy: python -m monitoring.sink.

A form with the fields photo and label, and as the client likes who, version and answer. Photo and correction become
objects of a folder or bucket, which `python -m monitoring.corrections` collects. One request at a time, in a process of
its own at low priority, so that predictions never wait for it.
"""

import argparse
import hashlib
import io
import json
import os
import secrets
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, create_form_parser

from handler.problem import MEDIA_TYPE, MalformedRequest, NotAPhoto, Problem, TooLarge
from handler.settings import Limits
from model_archive.storage import RegistryError, Storage, open_storage
from monitoring.correction import CorrectionError, clean_photo, make_correction
from monitoring.correction_sources import RECEIVED

_MAX_FIELD_BYTES = 1000
# The photo, and room for the other fields.
_MAX_BODY_BYTES = Limits().max_photo_bytes + 2**16
_FORM = {"MAX_MEMORY_FILE_SIZE": _MAX_BODY_BYTES, "MAX_FIELDS": 10, "MAX_FIELD_SIZE": _MAX_FIELD_BYTES}
_FIELDS = ("label", "who", "version", "answer")
_NICENESS = 10


_UNAVAILABLE = {
    "type": "urn:fruity:unavailable",
    "title": "The correction could not be kept",
    "status": 503,
    "detail": "the place where corrections are kept does not answer; try again later",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep the corrections that are posted.")
    parser.add_argument("--socket", type=Path, required=True, help="where the reverse proxy sends them")
    parser.add_argument("--uri", required=True, help="where they are kept: a folder or gs://bucket/prefix")
    options = parser.parse_args()
    os.nice(_NICENESS)
    try:
        storage = open_storage(options.uri)
    except RegistryError as error:
        sys.exit(f"corrections: {error}")
    options.socket.unlink(missing_ok=True)
    with _Server(str(options.socket), _Page) as server:
        server.storage = storage
        server.serve_forever()


def keep(storage: Storage, form: dict[str, bytes], client: str) -> dict[str, str]:
    """Keep the correction of *form* in *storage*; return what was understood. Raises a `Problem` or `RegistryError`.

    *client* is whose key it was sent with: who says so, unless the form names somebody.
    """
    photo = form.get("photo") or b""
    texts = {name: form.get(name, b"").decode(errors="replace") for name in _FIELDS}
    texts["who"] = texts["who"] or client
    digest = hashlib.sha256(photo).hexdigest()
    try:
        correction = make_correction(digest, texts.pop("label"), "post", **texts)
    except CorrectionError as error:
        raise MalformedRequest(str(error)) from error
    name = f"{correction.time:%Y%m%dT%H%M%S}-{digest[:16]}-{secrets.token_hex(4)}.json"
    objects = {correction.photo: clean_photo(photo), f"{RECEIVED}/{name}": msgspec.json.encode(correction)}
    # The correction last: where it is, its photo is.
    for place, content in objects.items():
        storage.create(place, io.BytesIO(content), len(content))
    return {"digest": digest, "label": correction.label}


def read_form(content_type: str, body: bytes) -> dict[str, bytes]:
    """Return the fields of a multipart form; raise a `Problem`."""
    form: dict[str, bytes] = {}

    def add_field(field: Field) -> None:
        form[(field.field_name or b"").decode(errors="replace")] = field.value or b""

    def add_file(file: File) -> None:
        file.file_object.seek(0)
        form[(file.field_name or b"").decode(errors="replace")] = file.file_object.read()

    if not content_type.lower().startswith("multipart/form-data"):
        raise NotAPhoto(f"the body is {content_type[:100] or 'of no type'}; send a form, multipart/form-data")
    try:
        parser: FormParser = create_form_parser({"Content-Type": content_type.encode()}, add_field, add_file, _FORM)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise MalformedRequest(f"the form cannot be read ({error}); send fields photo and label") from error
    return form


class _Server(socketserver.UnixStreamServer):
    storage: Storage
    request_queue_size = 16


class _Page(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10

    def do_POST(self) -> None:
        try:
            form = read_form(self.headers.get("Content-Type", ""), self._read_body())
            self._answer(HTTPStatus.CREATED, keep(self.server.storage, form, self.headers.get("X-Client", "")))
        except Problem as problem:
            self._answer(problem.status, problem.document(), MEDIA_TYPE)
        except RegistryError as error:
            print(f"corrections: {error}", file=sys.stderr, flush=True)
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _UNAVAILABLE, MEDIA_TYPE)

    def _read_body(self) -> bytes:
        length = int(self.headers.get("Content-Length", 0))
        if length > _MAX_BODY_BYTES:
            raise TooLarge(f"the form has {length:,} bytes, the limit is {_MAX_BODY_BYTES:,}; send a smaller JPEG")
        return self.rfile.read(length)

    def _answer(self, status: int, document: object, media_type: str = "application/json") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class names it
        """Leave the access log to the reverse proxy."""


if __name__ == "__main__":
    main()
