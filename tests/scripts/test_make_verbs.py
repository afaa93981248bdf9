"""What the verbs of the Makefile pass to the scripts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.model_store import ROOT
from tests.scripts.programs import write_program

Make = Callable[..., list[str]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run a target with a venv whose Python prints its arguments; return them."""
    show = "import json, sys; print(json.dumps(sys.argv[1:]))"
    write_program(tmp_path / "venv" / "bin" / "python", f'exec {sys.executable} -c "{show}" "$@"')
    environment = {name: os.environ[name] for name in ("PATH", "HOME")}

    def call(*words: str) -> list[str]:
        stamps = [f"--assume-old={tmp_path}/venv/.{name}" for name in ("serve", "registry")]
        command = ["make", f"--file={ROOT}/Makefile", *stamps, f"VENV={tmp_path}/venv", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        arguments: list[str] = json.loads(done.stdout)
        return arguments

    for name in ("serve", "registry"):
        (tmp_path / "venv" / f".{name}").touch()
    return call


@pytest.mark.parametrize("photo", ["my photo.jpg", 'it\'s "mine".jpg', "a,b.jpg"])
def test_a_photo_of_any_name_is_one_argument(make: Make, photo: str) -> None:
    assert make("predict", f"PHOTO={photo}")[2] == photo


@pytest.mark.parametrize("target", ["rollout", "rollback", "unregister", "scale"])
def test_args_are_passed_to_the_verbs_that_have_options(make: Make, target: str) -> None:
    assert make(target, "ARGS=--now --keep")[-2:] == ["--now", "--keep"]


def test_a_version_that_is_given_to_publish_must_be_the_archives(make: Make) -> None:
    assert make("publish", "VERSION=3.3.3", "ARCHIVE=build/x.mar")[-3:] == ["build/x.mar", "--version", "3.3.3"]
    assert make("publish", "ARCHIVE=build/x.mar")[-1] == "build/x.mar"
