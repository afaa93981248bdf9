"""A trained network to a run folder, whole or not at all.

runs/<id>/
├── model.safetensors   the weights, under timm's own names
├── spec.json           the contract with archive and server (handler/spec.py)
├── metrics.json        every figure of the evaluation, for machines
├── config.yaml         the resolved configuration that trained it
├── reference.npz       what the model saw on val: drift is measured from it
├── photos.zip          some of train and val, as the network sees them: int8 is made and judged with them
└── report.html         the evaluation, for people
"""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import yaml
from numpy.typing import NDArray
from torch import Tensor

from handler.spec import PHOTOS_FILE, REFERENCE_FILE, WEIGHTS_FILE, Spec, write_spec
from training.config import Config, ConfigError, convert_config
from training.int8_photos import KeptPhotos, write_photos

METRICS_FILE = "metrics.json"
CONFIG_FILE = "config.yaml"
REPORT_FILE = "report.html"
LATEST = "latest"


class RunError(Exception):
    """The run folder cannot be written."""


def write_run(
    folder: Path,
    *,
    state_dict: Mapping[str, Tensor],
    spec: Spec,
    metrics: Mapping[str, Any],
    config: str = "",
    reference: Mapping[str, NDArray[Any]] | None = None,
    report: str | None = None,
    photos: KeptPhotos | None = None,
) -> Path:
    """Write the run *folder* and return it; raise `RunError`, which leaves nothing behind.

    *state_dict* has the keys of timm's own model; *config* is YAML, *report* HTML. A run is never
    overwritten. What is None is not written.
    """
    check_free(folder)
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        partial.chmod(0o755)
        _write_weights(state_dict, partial / WEIGHTS_FILE)
        write_spec(spec, partial)
        (partial / METRICS_FILE).write_bytes(format_json(metrics))
        (partial / CONFIG_FILE).write_text(config, encoding="utf-8")
        if reference is not None:
            np.savez_compressed(partial / REFERENCE_FILE, allow_pickle=False, **reference)
        if report is not None:
            (partial / REPORT_FILE).write_text(report, encoding="utf-8")
        if photos is not None:
            write_photos(partial / PHOTOS_FILE, photos)
        partial.rename(folder)
    except OSError as error:
        raise RunError(f"the run {folder} cannot be written: {_explain(error)}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def read_run_config(run: Path) -> Config:
    """Return the configuration that trained *run*; raise `ConfigError`."""
    try:
        return convert_config(yaml.safe_load((run / CONFIG_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{run / CONFIG_FILE} does not exist; only runs of training.train have one") from error


def check_free(folder: Path) -> None:
    """Raise `RunError` if the run *folder* exists."""
    if folder.exists():
        raise RunError(f"the run {folder} exists and is never overwritten; choose another run id or remove it")


def point_latest(folder: Path) -> None:
    """Point the link `latest` beside the run *folder* at it, in one step."""
    link = folder.parent / f".{LATEST}-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / LATEST)


def format_json(value: Any) -> bytes:
    """Return *value* as sorted, indented JSON: the same bytes for the same value."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1) + b"\n"


def read_code_revision(checkout: Path) -> str | None:
    """Return the commit that *checkout* stands on, `-dirty` behind it where files differ, or None."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _write_weights(state_dict: Mapping[str, Tensor], path: Path) -> None:
    # Channels-last weights are stored by their logical axes, so that equal weights give equal bytes.
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    path.write_bytes(safetensors.torch.save(weights))


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space"
    return f"{error.strerror or error}; choose another folder with runs=…"
