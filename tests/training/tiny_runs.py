"""Training runs that take seconds: a tiny network on the generated photos."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hydra import compose, initialize_config_dir

import training
from training.config import Config, read_config
from training.train import main
from training.training_run import train

CONF = Path(training.__file__).parent / "conf"

TINY = (
    "network.architecture=test_efficientnet",
    "network.weights=random",
    "network.size=64",
    "network.crop=1.0",
    "network.dropout=0.1",
    "recipe.epochs=2",
    "recipe.batch=8",
    "recipe.lr=0.01",
    "recipe.freeze_norms=false",
    "trainer.workers=0",
    "trainer.threads=1",
    "evaluation.robustness_photos=0",
    "tracker=none",
)
# Enough for the tiny network to tell the four labels of the generated photos apart.
LEARNS = ("recipe.epochs=12", "recipe.ema_decay=0.9", "recipe.layer_decay=1.0")
LEARNED = 0.75


def tiny_overrides(photos: Path, folder: Path, *overrides: str) -> list[str]:
    """Return the command line of a tiny run with *overrides*; everything that it writes is below *folder*."""
    places = (f"data.source={photos}", f"data.cache={folder / 'data'}", f"runs={folder / 'runs'}")
    return [*TINY, *places, f"logs={folder / 'logs'}", "id=tiny", *overrides]


def tiny_config(photos: Path, folder: Path, *overrides: str) -> Config:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_config(compose("train", tiny_overrides(photos, folder, *overrides)))


def run_training(photos: Path, folder: Path, *overrides: str) -> Path:
    """Return the finished tiny run."""
    run = train(tiny_config(photos, folder, *overrides))
    assert run is not None
    return run


def call_main(monkeypatch: pytest.MonkeyPatch, photos: Path, folder: Path, *overrides: str) -> None:
    """Run `python -m training.train` in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", *tiny_overrides(photos, folder, *overrides)])
    main()


def read_metrics(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text())


def read_classifier(run: Path) -> torch.Tensor:
    return safetensors.torch.load_file(run / "model.safetensors")["classifier.weight"]
