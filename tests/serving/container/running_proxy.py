"""A real nginx on a free port, started by proxy.py."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.server_process import free_ports
from serving.container.container_settings import ContainerSettings
from serving.container.health import Health, serve_health
from serving.container.proxy import Proxy

PREDICT = "/predictions/fruity"
_LOG_S = 10


@dataclass
class RunningProxy:
    proxy: Proxy
    health: Health
    port: int
    log: Path
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def send(self, request: bytes, *, timeout_s: float = 20) -> bytes:
        """Return all bytes that come back for *request* until nginx closes the connection."""
        answer = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def logged(self, count: int) -> list[dict[str, Any]]:
        """Return the access log once it has *count* lines."""
        deadline = time.monotonic() + _LOG_S
        while time.monotonic() < deadline:
            lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
            if len(lines) >= count:
                return lines
            time.sleep(0.02)
        raise AssertionError(f"{self.log} has fewer than {count} lines: {self.log.read_text()}")


@contextmanager
def run_proxy(folder: Path, inference: str, **settings: Any) -> Iterator[RunningProxy]:
    """Run nginx for the server at *inference* while the block runs; its log goes to *folder*/proxy.log."""
    port, health, log, run_folder = free_ports(1)[0], Health(unready_reason=""), folder / "proxy.log", folder / "run"
    run_folder.mkdir()
    scheme = "https" if "tls_certificate" in settings else "http"
    with (
        log.open("wb") as output,
        serve_health(health, run_folder),
        Proxy(ContainerSettings(port=port, run_folder=run_folder, **settings), inference, output.fileno()) as proxy,
    ):
        yield RunningProxy(proxy, health, port, log, scheme)


def assert_is_problem(response: httpx.Response, status: int, kind: str) -> None:
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["status"], problem["type"]) == (status, f"urn:fruity:{kind}")
    assert problem["title"]
    assert problem["detail"]
