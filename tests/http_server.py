"""An HTTP server for tests, on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    """With lower-case names."""
    body: bytes


Answer = Callable[[Request], tuple[int, object] | tuple[int, object, dict[str, str]] | None]
"""The status, the body (bytes or a JSON document) and headers, also instead of its own; None cuts the connection."""


@contextmanager
def serve_http(answer: Answer, port: int = 0) -> Iterator[str]:
    """Answer each request by *answer*; yields the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answered = answer(Request(self.command, self.path, headers, body))
            if answered is None:
                self.close_connection = True
                return
            status, document, *more = answered
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            sent = {"Content-Type": "application/json", "X-Request-Id": "upstream-id"}
            for name, value in {**sent, "Content-Length": str(len(content)), **dict(*more)}.items():
                self.send_header(name, value)
            self.end_headers()
            # A browser may close its page meanwhile.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    with Server(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
