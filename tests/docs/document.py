"""The OpenAPI document, and checks of values against its schemas."""

import functools
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from serving.model_store import ROOT

OPENAPI_FILE = ROOT / "docs" / "openapi.yaml"


@functools.cache
def read_document() -> dict[str, Any]:
    """Return the document, parsed once: that takes 0.1 s, and each answer of a real server is checked against it."""
    document: dict[str, Any] = yaml.safe_load(OPENAPI_FILE.read_text())
    return document


def response_contents(document: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    """Return the media types of an answer, with their schemas."""
    response = document["paths"][path][method]["responses"][str(status)]
    named = response["$ref"].rpartition("/")[2] if "$ref" in response else None
    contents: dict[str, Any] = document["components"]["responses"][named]["content"] if named else response["content"]
    return contents


def check(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    """Raise `jsonschema.ValidationError` if *value* does not match *schema*, a part of *document*."""
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)
