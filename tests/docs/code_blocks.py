"""The code blocks of the pages for people."""

import re
from collections.abc import Iterator
from pathlib import Path

from serving.model_store import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "client" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def read_blocks(page: Path, *languages: str) -> list[str]:
    """Return the blocks of *page* that are in one of *languages*."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [content for language, content in blocks if language in languages]


def read_commands(page: Path) -> Iterator[str]:
    """Yield each command of *page*: what follows `$ ` in its console blocks, all of its shell blocks."""
    for language in ("console", "sh"):
        for block in read_blocks(page, language):
            for line in block.replace("\\\n", " ").splitlines():
                if language == "sh" or line.startswith("$ "):
                    yield line.removeprefix("$ ")
