"""A tiny server that answers every photo with one label: python -m tests.benchmarks.labelling_server PORT LABEL."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.endpoint import Endpoint, Photo

LABELS = frozenset({"espresso", "not food", "crème brûlée"})
PHOTO = Photo("coffee", b"the bytes of a photo", "espresso")


@dataclass
class Behaviour:
    """How the server answers; *requests* holds what it got: content type and body."""

    label: str = "espresso"
    delay_s: float = 0.0
    status: int = 200
    hangs_up: bool = False
    requests: list[tuple[str, bytes]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # 64 clients connect at once.
    request_queue_size = 128


@contextmanager
def run_labelling_server(behaviour: Behaviour | None = None) -> Iterator[Endpoint]:
    """Serve in a thread until the block ends."""
    server = _build_server(0, behaviour or Behaviour())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Endpoint(f"http://127.0.0.1:{server.server_address[1]}/predict", LABELS)
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
            self.send_response(behaviour.status)
            answer = json.dumps({"model": "fruity", "version": "1.2.0", "label": behaviour.label}).encode()
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
            pass

    return _Server(("127.0.0.1", port), Handler)


if __name__ == "__main__":
    _build_server(int(sys.argv[1]), Behaviour(label=sys.argv[2])).serve_forever()
