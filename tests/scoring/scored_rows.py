"""The rows that a run wrote, and a run in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset

from serving.model_store import ROOT

# Root may read everything, unless it has given up these rights.
AS_A_USER = ["setpriv", *(f"--{of}=-dac_override,-dac_read_search" for of in ("bounding-set", "inh-caps"))]
AS_A_USER = AS_A_USER if os.geteuid() == 0 else []


def read_rows(destination: Path) -> list[dict[str, Any]]:
    """Return the rows of JSON lines in the order of their index."""
    lines = [line for path in destination.glob("part-*.jsonl") for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["index"]))


def read_parquet_rows(destination: Path) -> list[dict[str, Any]]:
    """Return the rows of Parquet files, as a reader of the folder sees them."""
    rows: list[dict[str, Any]] = pyarrow.dataset.dataset(str(destination)).to_table().to_pylist()
    return sorted(rows, key=lambda row: int(row["index"]))


def score_directly(
    source: Path | str, destination: Path | str, archive: Path, suffix: str = "jsonl"
) -> list[dict[str, Any]]:
    """Score without Ray, in a process that has the archive's handler alone; return the results of the parts."""
    command = [
        sys.executable,
        "-m",
        "tests.scoring.direct_scoring",
        str(source),
        str(destination),
        str(archive),
        suffix,
    ]
    done = subprocess.run([*AS_A_USER, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
