import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from handler.spec import read_spec
from tests.training.tiny_runs import LEARNED, LEARNS, read_metrics, tiny_overrides

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("override", "named"), [("recipe.epochz=3", "recipe.epochz"), ("recipe.batch=0", "`$.recipe.batch`; it is 0")]
)
def test_an_error_in_the_configuration_is_named_before_torch_is_imported(override: str, named: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "training.train", "experiment=full", "data.source=x", override]

    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert named in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "training.config" in imported
    assert not imported & {"torch", "lightning", "timm"}


@pytest.mark.slow
def test_two_processes_train_one_run_as_well_as_one_process_does(
    photo_folder: Path, tmp_path: Path, warm_python: str
) -> None:
    pair = ("trainer=ddp", "recipe.batch=4", "recipe.keep=best", "recipe.refit_epochs=1", "trainer.workers=0")
    # Without id= each process finds its own.
    arguments = [a for a in tiny_overrides(photo_folder, tmp_path, *pair, *LEARNS) if a != "id=tiny"]
    command = [warm_python, "-m", "training.train", *arguments]

    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    (run,) = (path for path in (tmp_path / "runs").iterdir() if path.name != "latest")
    assert read_spec(run).metrics["test"]["top1"] >= LEARNED
    assert [epoch["epoch"] for epoch in read_metrics(run)["epochs"]] == list(range(13))
    assert done.stderr.count("fit: epoch 12 of 12") == 1


@pytest.mark.slow
def test_the_command_printed_after_ctrl_c_resumes_in_a_fresh_shell(
    photo_folder: Path, tmp_path: Path, warm_python: str
) -> None:
    arguments = tiny_overrides(photo_folder, tmp_path, "id=cut", "recipe.epochs=40", "trainer.workers=1")
    command = [warm_python, "-m", "training.train", *arguments]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 90
    while not (tmp_path / "logs" / "cut" / "fit.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    # A terminal sends it to the loader's processes, too.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert list(tmp_path.glob("runs/*")) == []

    fresh_shell = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    printed = stderr.splitlines()[-1]
    resumed = subprocess.run(printed, shell=True, cwd=CHECKOUT, env=fresh_shell, capture_output=True, text=True)  # noqa: S602

    assert resumed.returncode == 0, f"{printed}: {resumed.stderr}"
    epochs = [epoch["epoch"] for epoch in read_metrics(tmp_path / "runs" / "cut")["epochs"]]
    assert epochs == list(range(41))
    assert "fit: epoch 1 of 40" not in resumed.stderr
