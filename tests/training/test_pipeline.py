import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from model_archive.run_entry import describe_run
from model_archive.run_registry import open_runs
from tests.run_folders import write_run_folder
from tests.training.data.test_fetch import ARCHIVE

ROOT = Path(__file__).parents[2]
CONFIGURATION = (
    ".gitignore",
    ".dvc/config",
    ".dvcignore",
    "dvc.yaml",
    "params.yaml",
    "pyproject.toml",
    "requirements.lock",
)


class Checkout:
    """A copy of what the pipeline needs, with a folder as its remote."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        programs = os.pathsep.join([str(Path(python).parent), str(Path(sys.executable).parent), os.environ["PATH"]])
        places = {"DVC_SITE_CACHE_DIR": str(folder.parent / "site"), "HOME": str(folder.parent)}
        self._environment = os.environ | {"PATH": programs} | places
        for name in ("handler", "model_archive", "training", *CONFIGURATION):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, folder / name)
        self.run("git", "init", "--quiet")
        self.run("dvc", "remote", "modify", "--local", "storage", "url", str(folder.parent / "remote"))

    def run(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.folder, env=self._environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.mark.slow
def test_dvc_repro_rebuilds_the_archive_and_its_remote_gives_it_back(tmp_path: Path, warm_python: str) -> None:
    checkout = Checkout(tmp_path / "fruity", warm_python)
    (checkout.folder / "data").mkdir()
    (checkout.folder / "data" / ".grocery.tar.gz").write_bytes(ARCHIVE)
    archive = checkout.folder / "build" / "fruity-1.1.0.mar"

    checkout.run("dvc", "repro")
    built = archive.read_bytes()
    checkout.run("dvc", "push")
    for name in (".dvc/cache", "build", "data", "runs"):
        shutil.rmtree(checkout.folder / name)
    checkout.run("dvc", "pull")

    assert archive.read_bytes() == built
    assert len(list((checkout.folder / "data" / "grocery").rglob("*.jpg"))) == 10
    assert "Data and pipelines are up to date" in checkout.run("dvc", "status")
    assert "didn't change, skipping" in checkout.run("dvc", "repro")


def test_a_published_run_is_the_same_run_from_dvc(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "fruity", sys.executable)
    run = write_run_folder(checkout.folder / "runs" / "learned")
    published = open_runs(str(tmp_path / "published")).publish(run)
    tracked = "runs/learned.dvc"

    checkout.run("dvc", "add", "runs/learned")
    checkout.run("dvc", "push", tracked)
    shutil.rmtree(run)
    shutil.rmtree(checkout.folder / ".dvc/cache")
    checkout.run("dvc", "pull", tracked)

    assert describe_run(run).digest == published.digest
    assert checkout.run("git", "status", "--short", "--untracked-files=all", "runs").splitlines() == [f"?? {tracked}"]


def test_the_pipeline_builds_with_params_that_exist() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert (ROOT / "training" / "conf" / "data" / f"{params['data']}.yaml").is_file()
    assert (ROOT / "training" / "conf" / "experiment" / f"{params['experiment']}.yaml").is_file()
