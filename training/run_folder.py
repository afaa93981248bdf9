"""The folder of a run: written completely or not at all.

runs/<id>/
├── model.safetensors   the weights, under timm's own names
├── spec.json           the contract with archive and server (handler/spec.py)
├── metrics.json        every figure of the evaluation, for machines
├── config.yaml         the resolved configuration that trained it
├── reference.npz       statistics of val: drift is measured from them
├── familiarity.npz     statistics of train and val that tell unfamiliar photos
├── learned_photos.npy  digests of the photos that it has learned from: evaluation leaves them out
├── val_photos.npy      digests of val: no test counts them
├── photos.zip          some of train and val, preprocessed: to calibrate int8 and to evaluate it
├── label_errors.csv    photos of train whose label is likely wrong
└── report.html         the evaluation, for people
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import yaml
from numpy.typing import NDArray
from torch import Tensor, nn

from handler.spec import PHOTOS_FILE, WEIGHTS_FILE, Spec, encode_sorted, write_spec
from training.config import Config, ConfigError, convert_config
from training.int8_photos import KeptPhotos, write_photos
from training.network import NetworkError, build_network, load_weights, read_weights

CONFIG_FILE = "config.yaml"
REPORT_FILE = "report.html"


class RunError(Exception):
    """The run exists already."""


def write_run(
    folder: Path,
    *,
    state_dict: Mapping[str, Tensor],
    spec: Spec,
    metrics: Mapping[str, Any],
    texts: Mapping[str, str] = {},
    statistics: Mapping[str, Mapping[str, NDArray[Any]]] = {},
    digests: Mapping[str, NDArray[np.uint64]] = {},
    photos: KeptPhotos | None = None,
) -> Path:
    """Write the run *folder* and return it; raise `RunError` or `OSError`, after which nothing of it is left.

    *state_dict* has the keys of timm's own model; *texts*, *statistics* (arrays by name) and *digests* are by file.
    """
    check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        partial = Path(temporary, folder.name)
        partial.mkdir()
        # Channels-last weights are stored by their logical axes, so that equal weights give equal bytes.
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
        (partial / WEIGHTS_FILE).write_bytes(safetensors.torch.save(weights))
        write_spec(spec, partial)
        (partial / "metrics.json").write_bytes(encode_sorted(metrics))
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        for name, arrays in statistics.items():
            np.savez_compressed(partial / name, allow_pickle=False, **arrays)
        for name, digests_N in digests.items():
            np.save(partial / name, np.sort(digests_N), allow_pickle=False)
        if photos is not None:
            write_photos(partial / PHOTOS_FILE, photos)
        partial.rename(folder)
    return folder


def read_run_config(run: Path) -> Config:
    """Return the configuration that trained *run*; raise `ConfigError`."""
    try:
        return convert_config(yaml.safe_load((run / CONFIG_FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{run / CONFIG_FILE} does not exist; only runs of training.train have one") from error


def load_network(run: Path, spec: Spec) -> nn.Module:
    """Return the network of the folder *run* in evaluation mode; raise `NetworkError`."""
    if spec.label_outputs is not None:
        raise NetworkError(
            f"the labels of {run} are sums of the network's outputs, which only its archive computes; build that with "
            "make archive, and score photos with make score"
        )
    path = run / WEIGHTS_FILE
    if spec.pruned:
        return rebuild_pruned(spec, read_weights(path))
    return build_network(spec.architecture, str(path), spec.num_outputs).eval()


def rebuild_pruned(spec: Spec, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return the network of *spec* with the widths and values of *tensors*; raise `NetworkError`.

    model_archive/served_network.py does the same without training's code.
    """
    network = build_network(spec.architecture, "random", spec.num_outputs).eval()
    for name, layer in network.named_modules():
        shape = tensors[f"{name}.weight"].shape if f"{name}.weight" in tensors else None
        if isinstance(layer, nn.Conv2d) and shape:
            if layer.groups == layer.in_channels:
                layer.groups = shape[0]
            layer.out_channels, layer.in_channels = shape[0], shape[1] * layer.groups
        elif isinstance(layer, nn.Linear) and shape:
            layer.out_features, layer.in_features = shape
        elif isinstance(layer, nn.BatchNorm2d) and shape:
            layer.num_features = shape[0]
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        tensor.data = torch.empty_like(tensors.get(name, tensor))
    load_weights(network, dict(tensors), WEIGHTS_FILE)
    return network


def check_free(folder: Path) -> None:
    """Raise `RunError` if the run *folder* exists."""
    if folder.exists():
        raise RunError(f"the run {folder} exists and is never overwritten; choose another run id or remove it")


def point_latest(folder: Path) -> None:
    """Point the link `latest` beside the run *folder* at it, in one step."""
    link = folder.parent / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(folder.name)
    link.replace(folder.parent / "latest")


def read_code_revision(checkout: Path) -> str | None:
    """Return the commit of *checkout*, with `-dirty` where files differ, or None."""
    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
