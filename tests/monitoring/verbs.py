"""A verb that ends with the exit code that it is given: python -m tests.monitoring.verbs 3."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from monitoring.loop_commands import Command, LoopCommands


@dataclass(frozen=True, kw_only=True)
class EndsWith(LoopCommands):
    """The commands of a loop in which drift, train and build end with `codes` at once."""

    codes: Mapping[str, int]

    def find_drift(self, serving: Path) -> Command:
        return self._end("drift")

    def train(self, manifest: Path, run_id: str, *, resume: bool = False) -> Command:
        return self._end("train")

    def build(self, run: Path, version: str) -> Command:
        return self._end("build")

    def _end(self, verb: str) -> Command:
        return ("tests.monitoring.verbs", str(self.codes[verb]))


if __name__ == "__main__":
    sys.exit(int(sys.argv[1]))
