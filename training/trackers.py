"""Trackers of the curves and results of a run: CSV files, TensorBoard or Weights & Biases.

Axes: H height, W width, C channel.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

from training.config import TrackerConfig


@dataclass(frozen=True)
class Picture:
    """An RGB picture, uint8 HWC, with its caption."""

    pixels_HWC: NDArray[np.uint8]
    caption: str


def build_tracker(config: TrackerConfig, folder: Path, run_id: str) -> Logger | None:
    """Return the tracker that writes into *folder*; Weights & Biases stays offline without a key."""
    if config.kind == "none":
        return None
    if config.kind == "csv":
        # Lightning would delete the earlier curves of a resumed run.
        versions = itertools.chain(["csv"], (f"csv-{number}" for number in itertools.count(2)))
        return CSVLogger(folder, name="", version=next(v for v in versions if not (folder / v).exists()))
    if config.kind == "tensorboard":
        return TensorBoardLogger(folder, name="", version="tensorboard")
    folder.mkdir(parents=True, exist_ok=True)
    # Lightning's own `offline` asks for a key all the same (wandb 0.31).
    mode = "online" if wandb.login(prompt=False) else "offline"
    # The id lets a resumed run, and later the archive, join the same run.
    return WandbLogger(name=run_id, id=run_id, resume="allow", save_dir=folder, project=config.project, mode=mode)


def track_results(
    tracker: Logger | None,
    config: Mapping[str, Any],
    summary: Mapping[str, float],
    pictures: Mapping[str, list[Picture]],
) -> None:
    """Send the resolved *config*, the final figures and the *pictures*, by name, to *tracker*."""
    if tracker is None:
        return
    tracker.log_hyperparams(dict(config))
    tracker.log_metrics(dict(summary))
    for name, shown in pictures.items():
        if isinstance(tracker, TensorBoardLogger):
            for index, picture in enumerate(shown):
                tracker.experiment.add_image(f"{name}/{picture.caption}", picture.pixels_HWC, index, dataformats="HWC")
        elif isinstance(tracker, WandbLogger):
            tracker.log_image(name, [p.pixels_HWC for p in shown], caption=[p.caption for p in shown])
    tracker.save()


def track_run(tracker: Logger | None, run: Path, name: str) -> None:
    """Keep the run folder as an artifact, where *tracker* keeps artifacts, and close it."""
    if isinstance(tracker, WandbLogger):
        artifact = wandb.Artifact(f"{name}-run", type="run")
        artifact.add_dir(str(run))
        _keep(artifact, tracker)
    elif tracker is not None:
        tracker.finalize("success")


def track_archive(tracker: Logger | None, archive: Path, name: str) -> None:
    """Keep *archive* and its card as an artifact of the run, where *tracker* keeps artifacts, and close it."""
    if isinstance(tracker, WandbLogger):
        artifact = wandb.Artifact(f"{name}-archive", type="model")
        for file in (archive, archive.with_suffix(".md")):
            artifact.add_file(str(file))
        _keep(artifact, tracker)


def _keep(artifact: wandb.Artifact, tracker: WandbLogger) -> None:
    tracker.experiment.log_artifact(artifact)
    tracker.experiment.finish()
