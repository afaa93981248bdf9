import csv
from pathlib import Path

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from training.config import TrackerConfig
from training.trackers import Picture, build_tracker, track_results, track_run

PICTURES = {"mistakes": [Picture(np.zeros((8, 8, 3), np.uint8), "leek")]}


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    tracker = build_tracker(TrackerConfig(kind="none"), tmp_path / "logs", "one")
    track_results(tracker, {"seed": 1}, {"val/top1": 0.5}, PICTURES)
    track_run(tracker, tmp_path, "fruity")

    assert tracker is None
    assert list(tmp_path.iterdir()) == []


def test_csv_keeps_figures_and_configuration(tmp_path: Path) -> None:
    tracker = build_tracker(TrackerConfig(kind="csv"), tmp_path, "one")
    track_results(tracker, {"seed": 1}, {"val/top1": 0.5}, PICTURES)
    track_run(tracker, tmp_path, "fruity")

    rows = list(csv.DictReader((tmp_path / "csv" / "metrics.csv").read_text().splitlines()))
    assert rows[0]["val/top1"] == "0.5"
    assert (tmp_path / "csv" / "hparams.yaml").read_text() == "seed: 1\n"


def test_a_run_that_goes_on_keeps_the_curves_of_before(tmp_path: Path) -> None:
    for figure in (0.25, 0.5):
        tracker = build_tracker(TrackerConfig(kind="csv"), tmp_path, "one")
        track_results(tracker, {}, {"val/top1": figure}, {})
        track_run(tracker, tmp_path, "fruity")

    kept = [(tmp_path / name / "metrics.csv").read_text().splitlines()[1] for name in ("csv", "csv-2")]
    assert [row.split(",")[-1] for row in kept] == ["0.25", "0.5"]


def test_tensorboard_keeps_figures_and_pictures(tmp_path: Path) -> None:
    tracker = build_tracker(TrackerConfig(kind="tensorboard"), tmp_path, "one")
    track_results(tracker, {"seed": 1}, {"val/top1": 0.5}, PICTURES)
    track_run(tracker, tmp_path, "fruity")

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("val/top1")] == [0.5]
    assert events.Tags()["images"] == ["mistakes/leek"]


def test_wandb_without_a_key_works_offline_and_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text("{}")

    tracker = build_tracker(TrackerConfig(kind="wandb"), tmp_path / "logs", "one")
    track_results(tracker, {"seed": 1}, {"val/top1": 0.5}, PICTURES)
    assert isinstance(tracker, WandbLogger)
    summary = dict(tracker.experiment.summary)
    track_run(tracker, tmp_path / "run", "fruity")

    assert summary["val/top1"] == 0.5
    assert wandb.run is None
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*/run-*.wandb"))) == 1
