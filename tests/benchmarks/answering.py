"""A tiny server that answers every photo with one label: python -m tests.benchmarks.answering PORT LABEL [DELAY_S]."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.wire import Photo, Target

LABELS = frozenset({"espresso", "not food", "crème brûlée"})
PHOTO = Photo("coffee", b"the bytes of a photo", "espresso")


@dataclass
class Behaviour:
    """How the server answers; *requests* holds what it got: content type and body."""

    label: str = "espresso"
    delay_s: float = 0.0
    statuses: tuple[int, ...] = (200,)
    """In turn."""
    chunked: bool = False
    hangs_up: bool = False
    requests: list[tuple[str, bytes]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # 64 clients connect at once.
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that left."""


@contextmanager
def answering(behaviour: Behaviour | None = None) -> Iterator[Target]:
    """Serve in a thread until the block ends."""
    server = _build_server(0, behaviour or Behaviour())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Target(f"http://127.0.0.1:{server.server_address[1]}/predict", LABELS)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _build_server(port: int, behaviour: Behaviour) -> _Server:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            behaviour.requests.append((self.headers["Content-Type"], body))
            if behaviour.hangs_up:
                self.close_connection = True
                return
            time.sleep(behaviour.delay_s)
            status = behaviour.statuses[(len(behaviour.requests) - 1) % len(behaviour.statuses)]
            self._answer(status, json.dumps({"model": "fruity", "label": behaviour.label}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            if behaviour.chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n")
            else:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
            pass

    return _Server(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    delay_s = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    _build_server(int(sys.argv[1]), Behaviour(label=sys.argv[2], delay_s=delay_s)).serve_forever()
