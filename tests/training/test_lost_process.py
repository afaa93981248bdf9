"""A training whose other process is lost: what it says, and the command that resumes it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed
from lightning import Trainer

from tests.training.tiny_runs import call_main
from training.interruption import LostProcessError, explain_lost_process

GLOO = (
    "[/pytorch/gloo/transport/tcp/pair.cc:545] Read error [198.18.0.3]:54932: Connection reset by peer. "
    "This is typically caused by a remote worker hanging."
)
PLACE = ["--nnodes=2", "--node-rank=1"]


@pytest.fixture
def launcher() -> Iterator[int]:
    """The process id of a program with torchrun's arguments."""
    arguments = [*PLACE, "-m", "training.train", "trainer=ddp", "id=other"]
    command = [sys.executable, "-c", "input()", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def test_an_error_of_gloo_says_what_happened_to_the_connection() -> None:
    cause = re.escape("(Read error [198.18.0.3]:54932: Connection reset by peer)")

    with pytest.raises(LostProcessError, match=cause), explain_lost_process():
        raise RuntimeError(GLOO)


def test_an_error_of_nccl_is_one_of_a_lost_process() -> None:
    with pytest.raises(LostProcessError, match=r"\(NCCL timed out\)"), explain_lost_process():
        raise torch.distributed.DistBackendError("NCCL timed out")


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), explain_lost_process():
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("is_launched", [True, False], ids=["by torchrun", "alone"])
def test_the_command_that_resumes_is_the_one_that_started_the_training(
    is_launched: bool, launcher: int, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_process(*_: object, **__: object) -> None:
        raise RuntimeError(GLOO)

    (tmp_path / "logs" / "tiny").mkdir(parents=True)
    (tmp_path / "logs" / "tiny" / "fit.ckpt").touch()
    monkeypatch.setattr(Trainer, "fit", lose_process)
    monkeypatch.setattr(os, "getppid", lambda: launcher)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    if is_launched:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "pair")

    with pytest.raises(SystemExit) as stop:
        call_main(monkeypatch, photo_folder, tmp_path)

    error, command = str(stop.value.code).splitlines()
    assert error.startswith("error: another process of this training has ended or cannot be reached (Read error")
    words = command.split()
    assert words[0] == "GLOO_SOCKET_IFNAME=eth0"
    assert words[-2:] == ["id=tiny", "resume=true"]
    assert ([word for word in words if word in PLACE] == PLACE) is is_launched
    assert "id=other" not in words
