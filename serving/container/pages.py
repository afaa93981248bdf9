"""/readyz and /healthz, on a Unix socket that only the front reads."""

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

    class Page(_Page):
        def reason(self) -> str | None:
            return {"/readyz": health.unready_reason, "/healthz": health.stuck_reason}.get(self.path)

    with _Server(str(path), Page) as server:
        threading.Thread(target=server.serve_forever, name="health pages", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
    path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class _Page(BaseHTTPRequestHandler):
    timeout = _READ_TIMEOUT_S

    def reason(self) -> str | None:
        """Return why not, empty for all is well, None for a page that is not here."""
        raise NotImplementedError

    def do_GET(self) -> None:
        reason = self.reason()
        status = 404 if reason is None else 503 if reason else 200
        title = {200: "ok", 404: "There is nothing here", 503: "Not ready"}[status]
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
        """Probes are not worth a line."""
