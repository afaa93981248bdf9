import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import api_page
from scripts.api_page import DOCUMENT, PAGE, describe_type, render_page

DOCUMENTED: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text())


class Links(HTMLParser):
    """A page's link targets, ids and tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.targets: set[str] = set()
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.places |= {value for name, value in attributes if name == "id" and value}
        self.targets |= {value for name, value in attributes if name in ("href", "src", "action") and value}


def test_the_committed_page_is_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_page, "PAGE", tmp_path / "page.html")

    api_page.main()

    assert PAGE.read_text() == (tmp_path / "page.html").read_text(), "stale; run python -m scripts.api_page"


def test_the_page_has_every_path_and_schema_and_no_dead_link() -> None:
    page = PAGE.read_text()
    links = Links(page)

    assert [path for path in DOCUMENTED["paths"] if f"<code>{path}</code>" not in page] == []
    assert set(DOCUMENTED["components"]["schemas"]) <= links.places
    assert links.targets - {f"#{place}" for place in links.places} == {"/openapi.yaml"}


def test_the_page_needs_no_script_and_its_policy_allows_its_own_style_alone() -> None:
    page = PAGE.read_text()
    [style] = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert Links(page).tags.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert " style=" not in page
    assert f"default-src &#39;none&#39;; style-src &#39;sha256-{digest}&#39;" in page


def test_text_of_the_document_cannot_become_markup() -> None:
    info = {**DOCUMENTED["info"], "description": "a `<b>` <script>alert(1)</script>"}

    page = render_page({**DOCUMENTED, "info": info})

    assert "script" not in Links(page).tags
    assert "a <code>&lt;b&gt;</code> &lt;script" in page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"const": "fruity"}, '"fruity"'),
        ({"oneOf": [{"$ref": "#/a/B"}, {"type": "string"}]}, "B or string"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/a/B"}}, "array of B"),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, "array"),
        ({"type": "string", "contentEncoding": "base64"}, "string (base64)"),
    ],
)
def test_a_type_is_described_in_a_few_words(schema: dict[str, object], words: str) -> None:
    assert describe_type(schema) == words
