"""One training on two hosts, started by torchrun on each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from serving.model_store import ROOT
from tests.hosts.network import INTERFACE, Host

_TORCHRUN = str(Path(sys.executable).with_name("torchrun"))
_PORT = 29500
_START_S = 90


@dataclass(frozen=True)
class HostProcess:
    """torchrun on one host, and the file that it and its training write to."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """End it and its training by SIGKILL."""
        launcher = psutil.Process(self.process.pid)
        for process in (*launcher.children(recursive=True), launcher):
            process.kill()

    def wait(self, timeout_s: float) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs after {timeout_s} s: {self.log.read_text()}") from None


@contextmanager
def run_on_hosts(folder: Path, hosts: Sequence[Host], arguments: Sequence[str]) -> Iterator[list[HostProcess]]:
    """Run `training.train` with *arguments* on all *hosts*; what still runs after the block is killed."""
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": INTERFACE, "OMP_NUM_THREADS": "1"}
    folder.mkdir()
    started: list[HostProcess] = []
    try:
        for rank, host in enumerate(hosts):
            log = folder / f"{rank}.log"
            place = ["--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}", f"--master-addr={hosts[0].address}"]
            command = [_TORCHRUN, *place, f"--master-port={_PORT}", "-m", "training.train", *arguments]
            with host.inside(), log.open("wb") as output:
                process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
            started.append(HostProcess(process, log))
        yield started
    finally:
        for one in started:
            if one.process.poll() is None:
                one.kill()
            one.process.wait()


def wait_for_epoch(first: HostProcess, epoch: int) -> None:
    """Wait until the first process has said that *epoch* is over."""
    deadline = time.monotonic() + _START_S
    while f"fit: epoch {epoch} of" not in (said := first.log.read_text()):
        assert time.monotonic() < deadline, said
        assert first.process.poll() is None, said
        time.sleep(0.02)


def resume_command(log: Path) -> str:
    """Return the command that a process printed for its host."""
    lines = log.read_text().splitlines()
    (number,) = (
        number for number, line in enumerate(lines) if line.endswith("to resume from its checkpoint on all hosts:")
    )
    return lines[number + 1].strip()


SIGKILL = -int(signal.SIGKILL)
