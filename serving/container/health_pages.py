"""/readyz and /healthz, on a Unix socket that the reverse proxy reads."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from serving.container.health import Health

SOCKET_NAME = "health.sock"
_READ_TIMEOUT_S = 5


@contextmanager
def serve_pages(health: Health, folder: Path) -> Iterator[None]:
    """Answer at *folder*/health.sock while the block runs."""
    path = folder / SOCKET_NAME
    path.unlink(missing_ok=True)
    with _Server(str(path), _Page) as server:
        server.health = health
        threading.Thread(target=server.serve_forever, name="health pages", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
    path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    health: Health


class _Page(BaseHTTPRequestHandler):
    server: _Server
    timeout = _READ_TIMEOUT_S

    def do_GET(self) -> None:
        health = self.server.health
        reason = {"/readyz": health.unready_reason, "/healthz": health.stuck_reason}.get(self.path)
        status, title = (404, "Not found") if reason is None else (503, "Not ready") if reason else (200, "ok")
        document: dict[str, object] = {"status": title}
        if status != 200:
            document = {"type": "urn:fruity:not-ready", "title": title, "status": status, "detail": reason or self.path}
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class names it
        """Do not log probes."""
