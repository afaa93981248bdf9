"""The rows that a run wrote, and runs in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.dataset

from serving.model_store import ROOT


def read_rows(destination: Path) -> list[dict[str, Any]]:
    """Return the rows of JSON lines in the order of their index."""
    lines = [line for path in destination.glob("part-*.jsonl") for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda row: int(row["index"]))


def read_parquet_rows(destination: Path) -> list[dict[str, Any]]:
    """Return the rows of Parquet files, as a reader of the folder sees them."""
    rows: list[dict[str, Any]] = pyarrow.dataset.dataset(str(destination)).to_table().to_pylist()
    return sorted(rows, key=lambda row: int(row["index"]))


def score_directly(source: Path, destination: Path, archive: Path, suffix: str = "jsonl") -> list[dict[str, Any]]:
    """Score without Ray, in a process that has the archive's handler alone; return the results of the parts."""
    done = run("tests.scoring.direct_scoring", str(source), str(destination), str(archive), suffix)
    return [json.loads(line) for line in done.stdout.splitlines()]


def run(module: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run *module* to its end, in the checkout."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done
