"""A fake TorchServe that answers with the request it got."""

import json
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast


class Upstream:
    """Answers 200 with the request as JSON, or the next of `statuses`; 0 cuts the connection instead."""

    def __init__(self) -> None:
        self.statuses: deque[int] = deque()
        self.requests: list[dict[str, Any]] = []
        self.before_answer: Callable[[], object] = lambda: None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    upstream: Upstream


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        upstream = cast(_Server, self.server).upstream
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = {"method": self.command, "path": self.path, "headers": headers, "size": len(body)}
        upstream.requests.append(said)
        upstream.before_answer()
        status = upstream.statuses.popleft() if upstream.statuses else 200
        if status == 0:
            self.close_connection = True
            return
        answer = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("X-Request-Id", "upstream-id")
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class names it
        """Keep pytest's output quiet."""
