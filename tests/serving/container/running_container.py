"""The supervisor with nginx and TorchServe, as in the container, as a plain process on free ports."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.endpoint import Endpoint
from benchmarks.server_process import free_ports
from serving.model_store import ROOT
from serving.torchserve import Addresses
from tests.end_to_end.server import READY_S, write_config
from tests.serving.container.running_proxy import PREDICT


@dataclass
class RunningContainer:
    process: "subprocess.Popen[bytes]"
    port: int
    config: Path
    log: Path
    metrics_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(f"{self.url}{PREDICT}")

    def lines(self) -> list[dict[str, Any]]:
        """Return the log; fails if a line is not a JSON object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def wait_until(self, happened: Callable[[], bool], timeout_s: float = READY_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not happened():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def workers(self) -> list[dict[str, Any]]:
        management = Addresses.read(self.config).management
        workers: list[dict[str, Any]] = httpx.get(f"{management}/models/fruity").json()[0]["workers"]
        return workers


def find_process(ancestor: int, words: str) -> int:
    """Return the process under *ancestor* whose command line has *words*."""
    for process in psutil.Process(ancestor).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if words in " ".join(process.cmdline()):
                return int(process.pid)
    raise AssertionError(f"no process under {ancestor} has {words!r} in its command line")


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def run_container(folder: Path, *, wait: bool = True, **environment: str) -> Iterator[RunningContainer]:
    """Run while the block does; its log, stdout alone, goes to *folder*/container.log."""
    (port, metrics_port), log, config = free_ports(2), folder / "container.log", write_config(folder)
    command = [sys.executable, "-m", "serving.container.supervisor", "--config", str(config)]
    ports = {"PORT": str(port), "METRICS_PORT": str(metrics_port)}
    settings = {**ports, "RUN_FOLDER": str(folder / "run"), **environment}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=output) as process,
    ):
        container = RunningContainer(process, port, config, log, metrics_port)
        try:
            if wait:
                container.wait_until(lambda: is_ready(container.url))
            yield container
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
