"""What make hosts-test measured, as the tables of a page."""

from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.markdown_page import describe_run, format_table, write_section

_SERVING = ("fault of one of two hosts", "requests", "failed", "longest answer", "recovered after")
_TRAINING = ("training", "top-1", "loss", "what was seen")


@dataclass
class Results:
    serving: list[tuple[str, ...]] = field(default_factory=list)
    training: list[tuple[str, ...]] = field(default_factory=list)

    def write(self, page: Path) -> None:
        """Replace the section hosts-test of *page*."""
        head = f"{describe_run('make hosts-test')} for all hosts."
        tables = [format_table(_SERVING, self.serving, range(5)), format_table(_TRAINING, self.training, range(4))]
        write_section(page, "hosts-test", "\n\n".join([head, *tables]))
