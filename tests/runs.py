"""Runs of tiny networks with random weights."""

from pathlib import Path

import timm
import torch

from handler.spec import Spec
from training.run_folder import write_run


def write_tiny_run(folder: Path, spec: Spec) -> Path:
    """Write the run of the network that *spec* names, with the same random weights each time."""
    torch.manual_seed(0)
    network = timm.create_model(spec.architecture, num_classes=spec.num_outputs)
    # A random classifier gives nearly the same answer for every photo.
    torch.nn.init.normal_(network.get_parameter("classifier.weight"), std=2.0)
    return write_run(folder, state_dict=network.state_dict(), spec=spec, metrics={})
