"""Every command of docs/runbook.md, run in its order against a real server."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.model_store import ROOT
from serving.torchserve import Addresses
from tests.end_to_end.photos import coffee
from tests.end_to_end.server import run_server
from tests.end_to_end.versions import write_thresholds, write_version
from tests.scripts.programs import write_program

pytestmark = [pytest.mark.server, pytest.mark.slow]

RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", RUNBOOK, flags=re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a venv that is this Python, and a server of its own with 1.1.0 in its store."""
    folder = tmp_path_factory.mktemp("runbook")
    (folder / "photo.jpg").write_bytes(coffee())
    write_program(folder / "venv" / "bin" / "python", f'cd {ROOT} && exec {sys.executable} "$@"')
    (folder / "venv" / ".serve").touch()
    with run_server(folder, write_version(folder / "first", "1.0.0")):
        write_version(folder / "model_store", "1.1.0")
        yield folder


def adapt(command: str, folder: Path) -> str:
    """Return *command* with the addresses and files of the test's server."""
    addresses = Addresses.read(folder / "config.properties")
    for port, address in (("8080", addresses.inference), ("8081", addresses.management), ("8082", addresses.metrics)):
        command = command.replace(f"http://127.0.0.1:{port}", address)
    thresholds = write_thresholds(folder)
    ours = f"make -f {ROOT}/Makefile -o {folder}/venv/.serve VENV={folder}/venv CONFIG={folder}/config.properties"
    command = re.sub(r"^make ", f"{ours} THRESHOLDS={thresholds} ", command)
    return command.replace("build/model_store", str(folder / "model_store"))


def test_every_command_works_in_its_order(checkout: Path) -> None:
    (checkout / "model_store" / "rollouts.jsonl").touch()
    commands = [line for block in BLOCKS for line in block.splitlines()]

    printed = {command: run(adapt(command, checkout), checkout) for command in commands}

    assert len(commands) >= 16
    assert "1.1.0 serves" in printed["make rollout VERSION=1.1.0"]
    assert "1.0.0 serves" in printed["make rollback"]
    assert "espresso" in printed["curl -sf -T photo.jpg http://127.0.0.1:8080/predictions/fruity"]


def run(command: str, folder: Path) -> str:
    """Return what *command* prints; it must succeed."""
    shell = ["/bin/sh", "-c", command]
    done = subprocess.run(shell, cwd=folder, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
