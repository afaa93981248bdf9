"""What `make serve` installs suffices: without torch, without a Java of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model_store import DEFAULT_ARCHIVE, ROOT, stage
from tests.end_to_end.photos import ESPRESSO, coffee
from tests.end_to_end.server import READY_S, write_config

pytestmark = [pytest.mark.server, pytest.mark.slow]

MAX_VENV_BYTES = 600_000_000

# What scripts.serve does, with the test's own ports, and what `make versions` does.
SERVE = """
import subprocess, sys
from pathlib import Path
from serving.torchserve import TorchServe

config, root, archive = map(Path, sys.argv[1:4])
with TorchServe(config, root, archive) as server:
    server.wait_until_ready(float(sys.argv[4]))
    subprocess.run([sys.executable, "-m", "scripts.versions", "list", "--config", config], cwd=root, check=True)
    predict = [sys.executable, "-m", "fruity", "predict", sys.argv[5], "--url", server.addresses.inference]
    subprocess.run(predict, cwd=root, check=True)
"""


def test_the_serve_extra_serves_without_torch_and_without_a_system_java(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    environment = {**os.environ, "PATH": str(venv / "bin"), "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
    prepare = [sys.executable, str(ROOT / "scripts" / "prepare_venv.py"), "serve", "--venv", str(venv)]
    subprocess.run(prepare, env=environment, check=True)
    config, archive = write_config(tmp_path), stage(DEFAULT_ARCHIVE, tmp_path / "model_store")

    (tmp_path / "cup.png").write_bytes(coffee())

    command = [str(venv / "bin" / "python"), "-c", SERVE, str(config), str(ROOT), str(archive), str(READY_S)]
    command.append(str(tmp_path / "cup.png"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1.0.0" in done.stdout
    assert ESPRESSO in done.stdout
    assert not list(venv.glob("lib/python*/site-packages/torch"))
    assert (venv / "bin" / "java").is_symlink()
    assert sum(path.lstat().st_size for path in venv.rglob("*")) < MAX_VENV_BYTES
