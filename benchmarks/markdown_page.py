"""Tables in Markdown, and the sections of docs/reliability.md that commands write: what they measured last."""

import re
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bench_results import OUT, describe_machine, write_json
from serving.model_store import ROOT


def format_table(head: Sequence[str], rows: Iterable[Sequence[object]], left: Collection[int] = (0,)) -> str:
    """Return a table; the columns *left* are aligned to the left, the others to the right."""
    rule = ["---" if column in left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, rule, *rows))


def format_counts(counts: dict[str, int]) -> str:
    """Return how often each error or status came, "0" without any."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "0"


def describe_run(command: str) -> str:
    """Return the beginning of a section: its command, today, and this machine."""
    machine = describe_machine()
    return f"`{command}`, {time.strftime('%Y-%m-%d')}: {machine.cpu}, {machine.cores} cores"


def publish(name: str, figures: dict[str, Any], text: str, *, on_page: bool) -> None:
    """Write *figures* with date and machine to the results' folder; print *text*, and write it to the page if asked."""
    write_json(OUT / f"{name}.json", {"date": time.strftime("%Y-%m-%d"), "machine": describe_machine(), **figures})
    print(text)
    if on_page:
        write_section(ROOT / "docs" / "reliability.md", name, text)


def write_section(page: Path, name: str, text: str) -> None:
    """Replace what is between the comments of section *name* in *page*; raise `ValueError` without them."""
    start, end = f"<!-- {name}: written by make {name} -->", f"<!-- end of {name} -->"
    content = page.read_text()
    section = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not section.search(content):
        raise ValueError(f"{page} has no section {name}; it starts with {start} and ends with {end}")
    page.write_text(section.sub(lambda _: f"{start}\n\n{text}\n\n{end}", content))
