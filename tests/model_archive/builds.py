"""Archives built by the command, with what it prints."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from model_archive.build import main


@dataclass(frozen=True)
class Build:
    archive: Path
    printed: str


def run_command(*arguments: object) -> str:
    """Run `python -m model_archive.build` with *arguments* in this process; return what it prints."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(sys, "argv", ["build", *map(str, arguments)])
        main()
    return printed.getvalue()
