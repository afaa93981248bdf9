"""A fake of a deployed fruity, on a free port of loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Deployment:
    """Its answers, which a test changes; every photo gets `label`."""

    def __init__(self, version: str, label: str) -> None:
        self.versions = [version]
        """They answer in turn."""
        self.label = label
        self.status = 200
        self.paths: dict[str, int] = {"/readyz": 200}
        """Status of a GET; 404 for all others."""
        self.headers: list[dict[str, str]] = []
        self.photos: list[bytes] = []
        self.url = ""

    def answer(self, photo: bytes) -> dict[str, object]:
        version = self.versions[len(self.photos) % len(self.versions)]
        self.photos.append(photo)
        prediction = {"photo": "body", "labels": [{"label": self.label, "probability": 0.9}], "confident": True}
        return {"model": "fruity", "version": version, "predictions": [prediction]}


@contextmanager
def run_deployment(deployed: Deployment) -> Iterator[Deployment]:
    """Serve *deployed* at its `url` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(deployed.paths.get(self.path, 404), b"{}")

        def do_POST(self) -> None:
            deployed.headers.append({name.lower(): value for name, value in self.headers.items()})
            photo = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(deployed.status, json.dumps(deployed.answer(photo)).encode())

        def log_message(self, *_: object) -> None:
            pass

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        deployed.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield deployed
        finally:
            server.shutdown()
            thread.join()
