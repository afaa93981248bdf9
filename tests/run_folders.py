"""Small runs without a network that works."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from handler.spec import write_spec
from tests.specs import make_spec


def write_run_folder(folder: Path, report: str = "<p>report</p>") -> Path:
    """Write a run whose *report* makes its digest."""
    folder.mkdir(parents=True)
    save_file({"weight": np.arange(4, dtype=np.float32)}, folder / "model.safetensors")
    write_spec(make_spec(), folder)
    (folder / "metrics.json").write_text("{}\n")
    (folder / "report.html").write_text(report)
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    """Return all files below *folder* but locks, by their path in it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
