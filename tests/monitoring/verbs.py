"""A verb that ends with the exit code that it is given: python -m tests.monitoring.verbs 3."""

import sys
from dataclasses import dataclass
from pathlib import Path

from monitoring.loop_commands import Command, LoopCommands


@dataclass(frozen=True, kw_only=True)
class EndsWith(LoopCommands):
    """The commands of a loop whose search for drift ends with `code`."""

    code: int

    def find_drift(self, serving: Path) -> Command:
        return ("tests.monitoring.verbs", str(self.code))


if __name__ == "__main__":
    sys.exit(int(sys.argv[1]))
