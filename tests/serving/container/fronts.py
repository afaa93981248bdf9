"""A real nginx on a free port, as front.py starts it."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.container.front import Front
from serving.container.health import Health
from serving.container.pages import serve_pages
from serving.container.settings import Settings

_LOG_S = 10


@dataclass
class RunningFront:
    front: Front
    health: Health
    port: int
    log: Path
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def send(self, request: bytes, *, timeout_s: float = 20) -> bytes:
        """Return everything that comes back for *request*, byte for byte, until the front closes."""
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
        raise AssertionError(f"{self.log} has no {count} lines: {self.log.read_text()}")


@contextmanager
def run_front(folder: Path, inference: str, **settings: Any) -> Iterator[RunningFront]:
    """Run nginx before the server at *inference* until the block ends; its log goes to *folder*/front.log."""
    port, health, log = free_port(), Health(unready_reason=""), folder / "front.log"
    run_folder = folder / "run"
    run_folder.mkdir()
    scheme = "https" if "tls_certificate" in settings else "http"
    with (
        log.open("wb") as output,
        serve_pages(health, run_folder),
        Front(Settings(port=port, folder=run_folder, **settings), inference, output.fileno()) as front,
    ):
        yield RunningFront(front, health, port, log, scheme)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
