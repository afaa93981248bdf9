import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from scripts import api_page
from scripts.api_page import DOCUMENT, PAGE, describe_type, mark_code, render_page, resolve


class Links(HTMLParser):
    """What a page points at, the places it has, and its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.targets: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.places |= {value for name, value in attributes if name == "id" and value}
        self.targets |= {value for name, value in attributes if name in ("href", "src", "action") and value}


def parse(page: str) -> Links:
    links = Links()
    links.feed(page)
    return links


def test_the_committed_page_is_fresh() -> None:
    fresh = render_page(yaml.safe_load(DOCUMENT.read_text()))

    assert PAGE.read_text() == fresh, "docs/api.html is stale; run python -m scripts.api_page"


def test_the_page_names_every_path_and_every_schema() -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    page = PAGE.read_text()

    assert [path for path in document["paths"] if f"<code>{path}</code>" not in page] == []
    assert set(document["components"]["schemas"]) <= parse(page).places


def test_every_link_of_the_page_leads_somewhere_on_this_server() -> None:
    links = parse(PAGE.read_text())

    assert links.targets - {f"#{place}" for place in links.places} == {"/openapi.yaml"}


def test_the_page_needs_no_script_and_its_policy_allows_its_own_style_alone() -> None:
    page = PAGE.read_text()
    style = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()

    assert parse(page).tags.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert len(style) == 1
    assert " style=" not in page
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in page


def test_text_of_the_document_cannot_become_markup() -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    document["info"]["description"] = "<script>alert(1)</script>"

    assert "script" not in parse(render_page(document)).tags


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Answer"}, "Answer"),
        ({"const": "fruity"}, '"fruity"'),
        ({"oneOf": [{"$ref": "#/a/B"}, {"type": "string"}]}, "B or string"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/a/B"}}, "array of B"),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, "array"),
        ({"type": "string", "format": "binary"}, "string (binary)"),
        ({"type": "string", "contentEncoding": "base64"}, "string (base64)"),
    ],
)
def test_a_type_is_told_in_a_few_words(schema: dict[str, object], words: str) -> None:
    assert describe_type(schema) == words


def test_code_between_backticks_is_marked_and_everything_is_escaped() -> None:
    assert mark_code("a `<b>` & c") == "a <code>&lt;b&gt;</code> &amp; c"


def test_a_reference_to_a_reference_is_followed_to_its_end() -> None:
    document = {"a": {"$ref": "#/b/c"}, "b": {"c": {"type": "string"}}}

    assert resolve(document, {"$ref": "#/a"}) == {"type": "string"}


def test_the_page_is_written_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["api_page", "--out", str(tmp_path / "page.html")])

    api_page.main()

    assert (tmp_path / "page.html").read_bytes() == PAGE.read_bytes()
