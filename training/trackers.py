"""Trackers of the curves and results of a run: CSV files, TensorBoard or Weights & Biases.

`python -m training.trackers runs/latest 1.1.0` keeps the run's archive, too, where Weights & Biases tracked the run.
Axes: H height, W width, C channel.
"""

import argparse
import itertools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import wandb
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from numpy.typing import NDArray

from training.config import ConfigError, TrackerConfig
from training.run_folder import read_run_config


class Picture(NamedTuple):
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
    tracker: Logger, config: Mapping[str, Any], summary: Mapping[str, float], pictures: Mapping[str, list[Picture]]
) -> None:
    """Send the resolved *config*, the final figures and the *pictures*, by name, to *tracker*."""
    tracker.log_hyperparams(dict(config))
    tracker.log_metrics(dict(summary))
    for name, shown in pictures.items():
        if isinstance(tracker, TensorBoardLogger):
            for index, picture in enumerate(shown):
                tracker.experiment.add_image(f"{name}/{picture.caption}", picture.pixels_HWC, index, dataformats="HWC")
        elif isinstance(tracker, WandbLogger):
            tracker.log_image(name, [p.pixels_HWC for p in shown], caption=[p.caption for p in shown])
    tracker.save()


def track_files(tracker: Logger | None, name: str, kind: str, *paths: Path) -> None:
    """Keep *paths*, files or folders, as an artifact, where *tracker* keeps artifacts, and close it."""
    if isinstance(tracker, WandbLogger):
        artifact = wandb.Artifact(name, type=kind)
        for path in paths:
            (artifact.add_dir if path.is_dir() else artifact.add_file)(str(path))
        tracker.experiment.log_artifact(artifact)
        tracker.experiment.finish()
    elif tracker is not None:
        tracker.finalize("success")


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep a run's archive in Weights & Biases, if it tracked the run.")
    parser.add_argument("run", type=Path, help="the run's folder, for example runs/latest")
    parser.add_argument("version", help="the archive's, as 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("build"), help="the archive's folder (default: %(default)s)")
    asked = parser.parse_args()
    try:
        config = read_run_config(asked.run)
    except ConfigError as error:
        sys.exit(f"archive: {error}")
    if config.tracker.kind != "wandb":
        return
    archive = asked.out / f"{config.name}-{asked.version}.mar"
    if not archive.exists():
        sys.exit(f"archive: {archive} does not exist; make archive builds it")
    tracker = build_tracker(config.tracker, Path(config.logs) / config.id, config.id)
    track_files(tracker, f"{config.name}-archive", "model", archive, archive.with_suffix(".md"))
    sys.stdout.write(f"wandb   {archive.name} is an artifact of the run {config.id}\n")


if __name__ == "__main__":
    main()
