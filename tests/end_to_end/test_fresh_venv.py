"""What `make serve` installs suffices: without torch, without a Java of the machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from serving.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive, stage
from serving.torchserve import Addresses
from tests.end_to_end.photos import ESPRESSO, coffee
from tests.end_to_end.server import READY_S, write_config

pytestmark = [pytest.mark.server, pytest.mark.slow]

MAX_VENV_BYTES = 600_000_000

# What scripts.serve does, with the test's own ports.
SERVE = """
import sys
from pathlib import Path
from serving.torchserve import TorchServe

config, root, archive = map(Path, sys.argv[1:4])
with TorchServe(config, root, archive) as server:
    print("answers:", server.wait_until_ready(float(sys.argv[4])), flush=True)
    sys.stdin.readline()
"""


def test_the_serve_extra_serves_without_torch_and_without_a_system_java(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment = {**os.environ, "PATH": str(venv / "bin"), "PYTHONPATH": str(ROOT)}
    prepare = [sys.executable, str(ROOT / "scripts" / "prepare_venv.py"), "serve", "--venv", str(venv)]
    subprocess.run(prepare, env=environment, check=True)
    config, archive = write_config(tmp_path), stage(newest_archive(DEFAULT_ARCHIVES), tmp_path / "model_store")

    command = [str(venv / "bin" / "python"), "-c", SERVE, str(config), str(ROOT), str(archive), str(READY_S)]
    with (
        (tmp_path / "server.log").open("w") as log,
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=log) as server,
    ):
        answer = wait_for_answer(tmp_path / "server.log", Addresses.read(config).inference, server)
        server.communicate(b"stop\n")

    assert answer.json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    assert server.returncode == 0
    assert not list(venv.glob("lib/python*/site-packages/torch"))
    assert (venv / "bin" / "java").is_symlink()
    assert sum(path.lstat().st_size for path in venv.rglob("*")) < MAX_VENV_BYTES


def wait_for_answer(log: Path, inference: str, server: "subprocess.Popen[bytes]") -> httpx.Response:
    while "answers: 1.0.0" not in log.read_text():
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    return httpx.post(f"{inference}/predictions/fruity", content=coffee(), timeout=READY_S)
