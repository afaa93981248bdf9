"""Write docs/openapi.yaml as a page for people, docs/api.html: python -m scripts.api_page."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup, escape

from serving.model_store import ROOT

DOCUMENT = ROOT / "docs" / "openapi.yaml"
PAGE = ROOT / "docs" / "api.html"


def main() -> None:
    PAGE.write_text(render_page(yaml.safe_load(DOCUMENT.read_text())))
    print(f"api page: {PAGE}")


def render_page(document: Mapping[str, Any]) -> str:
    """Return the page; its policy allows its own style sheet and nothing else."""
    folder = Path(__file__).parent
    loader = jinja2.FileSystemLoader(folder)
    templates = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    templates.filters["prose"] = mark_code
    style = (folder / "api_page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return templates.get_template("api_page.html.j2").render(
        document=document,
        operations=[
            (method, path, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if "responses" in operation
        ],
        style=style,
        policy=f"default-src 'none'; style-src 'sha256-{digest}'",
        resolve=lambda value: resolve(document, value),
        describe_type=describe_type,
        to_json=lambda value: json.dumps(value, indent=2, ensure_ascii=False),
    )


def resolve(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the target of `$ref` in *value*, else *value* itself."""
    if "$ref" not in value:
        return value
    found: Any = document
    for key in value["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return dict(found)


def mark_code(text: str) -> Markup:
    """Return *text* as HTML, with text between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped above


def describe_type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in a few words, as `array of Prediction or FailedPhoto`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "oneOf" in schema:
        return " or ".join(describe_type(one) for one in schema["oneOf"])
    kinds = schema.get("type", "object")
    words = " or ".join(kinds) if isinstance(kinds, list) else str(kinds)
    if words == "array" and schema["items"].get("properties") is None:
        return f"array of {describe_type(schema['items'])}"
    form = schema.get("format") or schema.get("contentEncoding")
    return f"{words} ({form})" if form else words


if __name__ == "__main__":
    main()
