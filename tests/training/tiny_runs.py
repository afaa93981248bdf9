"""Configurations of training runs that take seconds: a tiny network on the generated photos."""

from pathlib import Path

from hydra import compose, initialize_config_dir

import training
from training.config import Config, read_config

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


def tiny_config(photos: Path, folder: Path, *overrides: str) -> Config:
    """Return the checked configuration of a tiny run with *overrides*, everything it writes below *folder*."""
    places = [
        f"data.source={photos}",
        f"data.cache={folder / 'data'}",
        f"runs={folder / 'runs'}",
        f"logs={folder / 'logs'}",
        "id=tiny",
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_config(compose("train", [*TINY, *places, *overrides]))
