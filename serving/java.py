"""The machine's Java. Standard library only: scripts/prepare_venv.py runs before anything is installed."""

from __future__ import annotations  # so that an old Python can report that it is too old

import re
import subprocess
from pathlib import Path

MIN_JAVA = 17


def java_version(java: Path | str | None) -> int:
    """Return the major version of the *java* program, 0 if there is none."""
    if java is None or not Path(java).exists():
        return 0
    shown = subprocess.run([str(java), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', shown)
    return int(found.group(1)) if found else 0
