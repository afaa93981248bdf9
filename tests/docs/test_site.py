"""The docs site is built as `make docs` builds it, and loads nothing from other hosts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model_store import ROOT

# What a browser loads by itself; a link that a person follows may go anywhere.
_LOADED = re.compile(r"<(?:script|img|iframe|source|video|link)\b[^>]*?\b(?:src|href)=[\"']?(?P<address>[^\"' >]+)")


def build_site(checkout: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site's sources alone, in a folder of their own."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copyfile(ROOT / "mkdocs.yml", folder / "mkdocs.yml")
    return folder


def test_every_page_is_built_and_loads_files_of_the_site_alone(checkout: Path) -> None:
    done = build_site(checkout)

    assert done.returncode == 0, done.stderr
    site = checkout / "build" / "site"
    pages = {path.parent.relative_to(site).as_posix(): path.read_text() for path in site.rglob("index.html")}
    assert {"quickstart", "training", "api", "runbook", "how_it_works", "decisions", "faq", "benchmarks"} <= set(pages)
    loaded = {match["address"] for page in pages.values() for match in _LOADED.finditer(page)}
    assert len(loaded) > 10
    assert {address for address in loaded if "//" in address} == set()


@pytest.mark.parametrize("link", ["[a](missing.md)", "[a](runbook.md#missing)", "![a](missing.png)"])
def test_a_broken_link_fails_the_build(checkout: Path, link: str) -> None:
    page = checkout / "docs" / "faq.md"
    before = page.read_text()
    page.write_text(f"{before}\n{link}\n")

    done = build_site(checkout)

    page.write_text(before)
    assert done.returncode == 1
    assert "missing" in done.stderr


def test_the_list_of_decisions_has_the_title_of_each() -> None:
    folder = ROOT / "docs" / "decisions"

    titles = {path.name: path.read_text().splitlines()[0].removeprefix("# ") for path in folder.glob("[0-9]*.md")}

    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), flags=re.MULTILINE)
    assert [(name, title) for title, name in listed] == sorted(titles.items())


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "client/README.md"])
def test_the_links_of_a_page_outside_the_site_lead_to_files(name: str) -> None:
    page = ROOT / name

    addresses = re.findall(r"\]\(([^)\s]+)\)", page.read_text())

    linked = {address.partition("#")[0] for address in addresses if "://" not in address} - {""}
    assert {address for address in linked if not (page.parent / address).exists()} == set()


def test_the_readme_is_short_and_has_one_picture() -> None:
    readme = (ROOT / "README.md").read_text()

    assert readme.count("\n") <= 120
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert (ROOT / picture).exists()
