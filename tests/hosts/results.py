"""What make hosts-test measured, as the tables of a page."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench_results import describe_machine
from benchmarks.reliability_page import write_section

_SERVING = ("fault of one of two hosts", "requests", "failed", "longest answer", "recovered after")
_TRAINING = ("training", "top-1", "loss", "what was seen")


@dataclass
class Results:
    serving: list[tuple[str, ...]] = field(default_factory=list)
    training: list[tuple[str, ...]] = field(default_factory=list)

    def write(self, page: Path) -> None:
        """Replace the section hosts-test of *page*."""
        machine = describe_machine()
        head = f"`make hosts-test`, {time.strftime('%Y-%m-%d')}: {machine.cpu}, {machine.cores} cores for all hosts."
        tables = _format(_SERVING, self.serving), _format(_TRAINING, self.training)
        write_section(page, "hosts-test", "\n\n".join([head, *tables]))


def _format(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
