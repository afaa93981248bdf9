import errno
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from handler.spec import read_spec
from tests.training.pictures import write_image_folder
from tests.training.tiny_runs import (
    LEARNED,
    LEARNS,
    TINY,
    call_main,
    read_classifier,
    read_metrics,
    run_training,
    tiny_config,
)
from training.config import ConfigError
from training.run_folder import RunError
from training.training_run import train

CHECKOUT = Path(__file__).resolve().parents[2]


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_probe_gives_a_whole_run_and_prints_figures_and_report(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(monkeypatch, photo_folder, tmp_path, "experiment=quick", *TINY)

    run = tmp_path / "runs" / "tiny"
    printed = capsys.readouterr().out
    assert "top1" in printed
    assert str(run / "report.html") in printed
    files = "config.yaml familiarity.npz label_errors.csv learned_photos.npy metrics.json model.safetensors"
    files += " photos.zip reference.npz report.html spec.json val_photos.npy"
    assert sorted(path.name for path in run.iterdir()) == files.split()
    spec = read_spec(tmp_path / "runs" / "latest")
    assert spec.labels == ("apple", "banana", "carrot", "leek")
    assert spec.groups == ("fruit", "fruit", "vegetable", "vegetable")
    assert set(spec.metrics) == {"val", "test"}
    assert spec.metrics["test"]["top1"] >= LEARNED
    with np.load(run / "reference.npz") as reference:
        assert reference["label_shares_K"].sum() == pytest.approx(1.0)


def test_fine_tuning_learns_the_photos_and_shows_each_epoch_in_a_log(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_training(photo_folder, tmp_path, *LEARNS)

    metrics = read_metrics(run)
    assert metrics["splits"]["test"]["summary"]["top1"] >= LEARNED
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == list(range(13))
    assert metrics["epochs"][-1]["train_loss"] < metrics["epochs"][1]["train_loss"]
    line = r"^fit: epoch (\d+) of 12, loss \d\.\d{3}, val top-1 \d\.\d{3}, (?:\d+ s left|done in \d+ s)$"
    printed = capsys.readouterr().err
    start = metrics["epochs"][0]
    assert f"start: val loss {start['val_loss']:.3f}, val top-1 {start['val_top1']:.3f}\n" in printed
    epochs = re.findall(line, printed, re.MULTILINE)
    assert epochs == [str(epoch) for epoch in range(1, 13)]


def test_the_default_start_is_better_than_chance_from_the_first_epoch_on(photo_folder: Path, tmp_path: Path) -> None:
    defaults = ("network.architecture=tf_efficientnet_lite0", "network.weights=auto", "recipe.freeze_norms=true")

    run = run_training(photo_folder, tmp_path, *defaults, "recipe.lr=1e-3")

    assert read_metrics(run)["epochs"][1]["train_loss"] < math.log(4)


@pytest.mark.parametrize("linear", [True, False])
def test_fine_tuning_starts_from_a_probe_where_the_classifier_is_linear(
    linear: bool, photo_folder: Path, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.training_run.has_linear_classifier", lambda network: linear)
    hardly_learns = (f"network.weights={trained_run / 'model.safetensors'}", "recipe.lr=1e-9", "recipe.epochs=1")

    run = run_training(photo_folder, tmp_path, *hardly_learns, "recipe.warmup_epochs=0")

    assert torch.allclose(read_classifier(run), read_classifier(trained_run), atol=1e-5) is not linear


def test_equal_seeds_give_equal_weights_and_figures(photo_folder: Path, tmp_path: Path) -> None:
    overrides = ("augment=strong", "recipe.start_size=32", "recipe.train_size=48", "recipe.class_weighting=true")

    first, second, other = (
        run_training(photo_folder, tmp_path / name, *overrides, f"seed={seed}")
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    )

    weights = [(run / "model.safetensors").read_bytes() for run in (first, second, other)]
    assert weights[0] == weights[1] != weights[2]
    assert read_spec(first) == read_spec(second)


def test_training_stops_without_progress_and_keeps_the_best_epoch(photo_folder: Path, tmp_path: Path) -> None:
    stops = ("recipe.epochs=40", "recipe.ema_decay=0", "recipe.lr=0.1", "recipe.patience=2")

    run = run_training(photo_folder, tmp_path, *stops)

    tops = [epoch["val_top1"] for epoch in read_metrics(run)["epochs"]]
    assert len(tops) < 40
    assert max(tops) == max(tops[:-2]) == read_spec(run).metrics["val"]["top1"]


def test_a_refit_learns_from_val_and_keeps_its_figures_from_before(
    photo_folder: Path, trained_run: Path, tmp_path: Path
) -> None:
    refitted = run_training(photo_folder, tmp_path, "recipe.refit_epochs=1")

    before, after = (read_spec(run).metrics["val"] for run in (trained_run, refitted))
    # What is unfamiliar depends on the network that is kept.
    assert {**after, "unfamiliar_share": before["unfamiliar_share"]} == before
    assert read_spec(refitted).temperature == read_spec(trained_run).temperature
    assert not torch.equal(read_classifier(refitted), read_classifier(trained_run))


def test_a_test_source_is_evaluated_and_val_is_corrupted_for_robustness(photo_folder: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "field", {"leek": 3, "apple": 2}, first_seed=9000)
    overrides = ("recipe.method=probe", f"data.test={tmp_path / 'field'}", "evaluation.robustness_photos=4")

    metrics = read_metrics(run_training(photo_folder, tmp_path, *overrides))

    assert metrics["splits"]["test"]["summary"]["photos"] == 5
    assert metrics["data"]["photos"] == {"train": 32, "val": 8, "test": 5}
    assert set(metrics["robustness"]) > {"none", "blur"}


def test_ctrl_c_before_the_first_epoch_ends_without_a_traceback(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(np, "savez", fail_with(KeyboardInterrupt()))

    with pytest.raises(SystemExit) as stop:
        call_main(monkeypatch, photo_folder, tmp_path, "recipe.method=probe")

    assert stop.value.code == 130
    assert capsys.readouterr().err.endswith("\nstopped\n")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("recipe.lr=-1", r"> 0\.0 .*\$\.recipe\.lr.* -1"),
        ("network.architecture=tf_efficientnet_lite9", "tf_efficientnet_lite4"),
        ("data.source=/nowhere", "/nowhere"),
        ("trainer.accelerator=gpu", "trainer=cpu"),
        ("resume=true", "tiny has no checkpoint"),
        ("recipe.frozen_stages=50", r"recipe\.frozen_stages is 50"),
    ],
)
def test_bad_input_gets_one_line(
    argument: str, message: str, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=rf"^error: .*{message}[^\n]*$"):
        call_main(monkeypatch, photo_folder, tmp_path, argument)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "logs"), r"Read-only file system \(logs\)"),
    ],
)
def test_a_disk_that_cannot_be_written_gets_one_line(
    failure: OSError, message: str, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(np, "savez", fail_with(failure))

    with pytest.raises(SystemExit, match=rf"^error: .*{message}[^\n]*$"):
        call_main(monkeypatch, photo_folder, tmp_path, "recipe.method=probe")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_cannot_be_written_need_not_be_trained_again(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "rename", fail_with(OSError(errno.ENOSPC, "No space left on device")))
    monkeypatch.setattr(sys, "executable", str(Path.cwd() / "venv" / "bin" / "python"))
    command = r"venv/bin/python -m training\.train [^\n]* id=tiny resume=true"

    with pytest.raises(SystemExit, match=rf"^error: .*disk is full[^\n]*\n  {command}$"):
        call_main(monkeypatch, photo_folder, tmp_path, "recipe.epochs=1", "recipe.warmup_epochs=0")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_resume_without_a_checkpoint_is_refused_before_the_photos_are_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiny has no checkpoint"):
        train(tiny_config(tmp_path / "nowhere", tmp_path, "resume=true"))


def test_a_run_id_that_exists_is_refused_before_training(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)

    with pytest.raises(RunError, match="tiny"):
        train(tiny_config(photo_folder, tmp_path))
