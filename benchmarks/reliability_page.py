"""Sections of docs/reliability.md that commands write: what they measured last."""

import re
from pathlib import Path


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what is between the comments of section *name* in *page*; raise `ValueError` without them."""
    start, end = f"<!-- {name}: written by make {name} -->", f"<!-- end of {name} -->"
    content = page.read_text()
    section = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not section.search(content):
        raise ValueError(f"{page} has no section {name}; it starts with {start} and ends with {end}")
    page.write_text(section.sub(lambda _: f"{start}\n\n{text}\n\n{end}", content))
