import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from tests.training.tiny_runs import tiny_config
from training import trackers
from training.config import TrackerConfig, format_config
from training.trackers import Picture, build_tracker, track_files, track_results

PICTURES = {"mistakes": [Picture(np.zeros((8, 8, 3), np.uint8), "leek")]}


def write_figures(kind: Literal["csv", "tensorboard"], folder: Path, top1: float = 0.5) -> None:
    tracker = build_tracker(TrackerConfig(kind=kind), folder, "one")
    assert tracker is not None
    track_results(tracker, {"seed": 1}, {"val/top1": top1}, PICTURES)
    track_files(tracker, "fruity-run", "run", folder)


def test_csv_keeps_configuration_and_figures_also_of_a_resumed_run(tmp_path: Path) -> None:
    for figure in (0.25, 0.5):
        write_figures("csv", tmp_path, figure)

    kept = [(tmp_path / name / "metrics.csv").read_text().splitlines()[1] for name in ("csv", "csv-2")]
    assert [row.split(",")[-1] for row in kept] == ["0.25", "0.5"]
    assert (tmp_path / "csv" / "hparams.yaml").read_text() == "seed: 1\n"


def test_tensorboard_keeps_figures_and_pictures(tmp_path: Path) -> None:
    write_figures("tensorboard", tmp_path)

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("val/top1")] == [0.5]
    assert events.Tags()["images"] == ["mistakes/leek"]


def test_wandb_without_a_key_works_offline_and_keeps_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.json").write_text("{}")

    tracker = build_tracker(TrackerConfig(kind="wandb"), tmp_path / "logs", "one")
    assert isinstance(tracker, WandbLogger)
    track_results(tracker, {"seed": 1}, {"val/top1": 0.5}, PICTURES)
    summary = dict(tracker.experiment.summary)
    track_files(tracker, "fruity-run", "run", tmp_path / "run")

    assert summary["val/top1"] == 0.5
    assert wandb.run is None
    assert len(list((tmp_path / "logs" / "wandb").glob("offline-run-*/run-one.wandb"))) == 1


def test_wandb_keeps_the_archive_with_the_run_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("fruity-1.1.0.mar", "fruity-1.1.0.md"):
        (tmp_path / name).write_text(name)

    keep_archive(tmp_path, "wandb", monkeypatch)

    assert "fruity-1.1.0.mar" in capsys.readouterr().out
    wandb.teardown()  # A finished run's record is complete only then: its service writes it from another process.
    (record,) = (tmp_path / "logs" / "tiny" / "wandb").glob("offline-run-*/run-tiny.wandb")
    assert b"fruity-archive" in record.read_bytes()
    assert b"fruity-1.1.0.mar" in record.read_bytes()


def test_a_missing_archive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"fruity-1\.1\.0\.mar"):
        keep_archive(tmp_path, "wandb", monkeypatch)


def test_another_tracker_keeps_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_archive(tmp_path, "csv", monkeypatch)

    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def keep_archive(folder: Path, tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the archive in *folder* of a run there that *tracker* tracked."""
    (folder / "config.yaml").write_text(format_config(tiny_config(folder, folder, f"tracker={tracker}")))
    monkeypatch.setattr(sys, "argv", ["trackers.py", str(folder), "1.1.0", "--out", str(folder)])
    trackers.main()
