import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from hydra import compose, initialize_config_dir

from handler.spec import read_spec
from tests.training.pictures import write_image_folder
from tests.training.tiny_runs import CONF, TINY, tiny_config
from training.config import convert_config, format_override, read_config
from training.export import RunError
from training.train import main, train

CHECKOUT = Path(__file__).resolve().parents[2]
# Enough for the tiny network to tell the four labels of the generated photos apart.
LEARNS = ("recipe.epochs=12", "recipe.ema_decay=0.9", "recipe.layer_decay=1.0")
LEARNED = 0.75


def run_command(photos: Path, folder: Path, *arguments: str) -> list[str]:
    places = [
        f"data.source={photos}",
        f"data.cache={folder / 'data'}",
        f"runs={folder / 'runs'}",
        f"logs={folder / 'logs'}",
    ]
    return [sys.executable, "-m", "training.train", *TINY, *places, *arguments]


def test_a_probe_gives_a_whole_run(photo_folder: Path, tmp_path: Path) -> None:
    run = train(tiny_config(photo_folder, tmp_path, "experiment=quick", *TINY))

    assert run == tmp_path / "runs" / "tiny"
    assert sorted(path.name for path in run.iterdir()) == [
        "config.yaml",
        "metrics.json",
        "model.safetensors",
        "photos.zip",
        "reference.npz",
        "report.html",
        "spec.json",
    ]
    spec = read_spec(tmp_path / "runs" / "latest")
    assert spec.labels == ("apple", "banana", "carrot", "leek")
    assert spec.groups == ("fruit", "fruit", "vegetable", "vegetable")
    assert set(spec.metrics) == {"val", "test"}
    assert spec.metrics["test"]["top1"] >= 0.75
    with np.load(run / "reference.npz") as reference:
        assert reference["label_shares_K"].sum() == pytest.approx(1.0)


def test_fine_tuning_learns_the_photos(photo_folder: Path, tmp_path: Path) -> None:
    run = train(tiny_config(photo_folder, tmp_path, *LEARNS))

    assert run is not None
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["splits"]["test"]["summary"]["top1"] >= LEARNED
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == list(range(1, 13))
    assert metrics["epochs"][-1]["train_loss"] < metrics["epochs"][0]["train_loss"]


def test_fine_tuning_can_start_from_a_probe(photo_folder: Path, tmp_path: Path) -> None:
    hardly_learn = ("recipe.epochs=2", "recipe.lr=1e-9", "recipe.classifier=probe", "recipe.ema_decay=0")

    run = train(tiny_config(photo_folder, tmp_path, *hardly_learn))

    probe = train(tiny_config(photo_folder, tmp_path, "recipe.method=probe", "id=probe"))
    assert run is not None
    assert probe is not None
    started = safetensors.torch.load_file(run / "model.safetensors")["classifier.weight"]
    torch.testing.assert_close(
        started, safetensors.torch.load_file(probe / "model.safetensors")["classifier.weight"], atol=1e-5, rtol=0.0
    )


def test_equal_seeds_give_equal_weights_and_figures(photo_folder: Path, tmp_path: Path) -> None:
    overrides = ("augment=strong", "recipe.start_size=32", "recipe.freeze_epochs=1", "recipe.class_weighting=true")
    first = train(tiny_config(photo_folder, tmp_path / "one", *overrides))
    second = train(tiny_config(photo_folder, tmp_path / "two", *overrides))
    other = train(tiny_config(photo_folder, tmp_path / "three", *overrides, "seed=1"))

    assert first is not None
    assert second is not None
    assert other is not None
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert read_spec(first) == read_spec(second)
    assert (first / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


def test_the_kept_configuration_describes_the_run(photo_folder: Path, tmp_path: Path) -> None:
    config = tiny_config(photo_folder, tmp_path, "recipe.epochs=2", "recipe.keep=best", "recipe.patience=1")

    run = train(config)

    assert run is not None
    assert convert_config(yaml.safe_load((run / "config.yaml").read_text())) == config


def test_a_refit_learns_from_val_and_keeps_its_figures_from_before(photo_folder: Path, tmp_path: Path) -> None:
    plain = train(tiny_config(photo_folder, tmp_path / "plain"))
    refitted = train(tiny_config(photo_folder, tmp_path / "refitted", "recipe.refit_epochs=1"))

    assert plain is not None
    assert refitted is not None
    assert read_spec(refitted).metrics["val"] == read_spec(plain).metrics["val"]
    assert read_spec(refitted).temperature == read_spec(plain).temperature
    plain_weights = safetensors.torch.load_file(plain / "model.safetensors")
    weights = safetensors.torch.load_file(refitted / "model.safetensors")
    assert not torch.equal(weights["classifier.weight"], plain_weights["classifier.weight"])


def test_a_test_source_is_evaluated_and_val_is_spoilt_for_robustness(photo_folder: Path, tmp_path: Path) -> None:
    write_image_folder(tmp_path / "field", {"leek": 3, "apple": 2}, first_seed=9000)
    overrides = ("recipe.method=probe", f"data.test={tmp_path / 'field'}", "evaluation.robustness_photos=4")

    run = train(tiny_config(photo_folder, tmp_path, *overrides))

    assert run is not None
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["splits"]["test"]["summary"]["photos"] == 5
    assert metrics["data"]["photos"] == {"train": 32, "val": 8, "test": 5}
    assert set(metrics["robustness"]) == {"none", "blur", "noise", "jpeg", "darkness", "rotation"}


def test_two_processes_train_one_run_as_good_as_one_process_does(photo_folder: Path, tmp_path: Path) -> None:
    pair = ("trainer=ddp", "id=pair", "recipe.batch=4", "recipe.refit_epochs=1")
    command = run_command(photo_folder, tmp_path, *TINY, *pair, *LEARNS)

    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name != "latest"] == ["pair"]
    assert read_spec(tmp_path / "runs" / "pair").metrics["test"]["top1"] >= LEARNED
    metrics = json.loads((tmp_path / "runs" / "pair" / "metrics.json").read_text())
    assert len(metrics["epochs"]) == 12


def test_ctrl_c_in_mid_epoch_says_how_to_go_on(photo_folder: Path, tmp_path: Path) -> None:
    command = run_command(photo_folder, tmp_path, "id=cut", "recipe.epochs=1000", "trainer.workers=1")
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    wait_for(tmp_path / "logs" / "cut" / "fit.ckpt")

    # A terminal sends it to the loader's processes, too.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130, stderr
    assert "of 1000" in stderr
    assert "id=cut resume=true" in stderr
    assert list(tmp_path.glob("runs/*")) == []


def test_ctrl_c_before_the_first_epoch_is_no_traceback(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", press)
    monkeypatch.setattr(sys, "argv", ["train.py", *run_command(photo_folder, tmp_path, "recipe.method=probe")[3:]])

    with pytest.raises(SystemExit) as stop:
        main()

    assert stop.value.code == 130
    assert capsys.readouterr().err.splitlines()[-1] == "stopped"


def test_a_run_that_cannot_be_written_is_not_trained_again(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "rename", raise_full)
    monkeypatch.setattr(
        sys,
        "argv",
        ["train.py", *run_command(photo_folder, tmp_path, "recipe.epochs=1", "id=full", "recipe.warmup_epochs=0")[3:]],
    )

    with pytest.raises(
        SystemExit,
        match=r"(?s)^error: the run .* the disk is full; free some space; to go on from its checkpoint:.*resume=true$",
    ):
        main()


def raise_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_names_of_folders_may_hold_what_hydra_has_a_meaning_for(photo_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photo_folder, tmp_path / 'Küche (neu), 1=2 "x" [a] it\'s $HOME')
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = read_config(compose("train", [format_override("data.source", folder)]))

    assert config.data.source == str(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipe.lr=-1"], "Expected `float` > 0.0 - at `$.recipe.lr`; it is -1"),
        (["recipe.warmup_epochs=2"], "each must be less than recipe.epochs, which is 2"),
        (["network.architecture=tf_efficientnet_lite9"], "did you mean tf_efficientnet_lite"),
        (["data.source=/nowhere"], "/nowhere"),
        (["recipe.freeze_norms=true"], "random and has none; set recipe.freeze_norms=false"),
        (["experiment=quick", "trainer.devices=2"], "a probe runs in one process"),
        (["trainer.accelerator=gpu"], "trainer.accelerator is gpu, but torch finds none here; use trainer=cpu"),
        (["resume=true", "id=mistyped"], "mistyped holds no checkpoint to go on from; check id=…"),
        (["recipe.frozen_stages=50"], "recipe.frozen_stages is 50, but this network has"),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: list[str],
    message: str,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *run_command(photo_folder, tmp_path, *arguments)[3:]])

    with pytest.raises(SystemExit) as stop:
        main()

    assert isinstance(stop.value.code, str)
    assert stop.value.code.startswith("error: ")
    assert message in stop.value.code
    assert "\n" not in stop.value.code


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; free some space and run"),
        (OSError(errno.EROFS, "Read-only file system", "logs"), r"Read-only file system \(logs\); mend that and run"),
    ],
)
def test_a_disk_that_takes_nothing_gets_one_sentence(
    failure: OSError, message: str, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(np, "savez", fail)
    monkeypatch.setattr(
        sys, "argv", ["train.py", *run_command(photo_folder, tmp_path, "recipe.method=probe", "id=one")[3:]]
    )

    with pytest.raises(SystemExit, match=f"^error: {message} the same command again$"):
        main()
    assert not (tmp_path / "runs").exists()


def test_a_run_id_that_is_taken_is_refused_before_training(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / "tiny").mkdir(parents=True)

    with pytest.raises(RunError, match="never overwritten"):
        train(tiny_config(photo_folder, tmp_path))


def test_the_command_prints_figures_and_where_the_report_is(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["train.py", *run_command(photo_folder, tmp_path, "recipe.method=probe", "id=one")[3:]]
    )

    main()

    printed = capsys.readouterr().out
    assert "top1" in printed
    assert str(tmp_path / "runs" / "one" / "report.html") in printed


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 90
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()
