"""Bucket services that fail: one with a fixed answer, and a TCP proxy that cuts connections to a working one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Service:
    """A bucket service that answers each request with *status* and *body*."""

    status: int = 200
    body: str = "{}"
    url: str = ""


@contextmanager
def run_service(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(service.status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(service.body.encode())

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        service.url = f"http://127.0.0.1:{http.server_port}"
        yield service
        http.shutdown()


@dataclass
class CuttingProxy:
    """A TCP proxy that cuts its connections."""

    port: int
    """Of the service behind it."""
    cut_down: list[int] = field(default_factory=list)
    """For each new connection, after how many bytes to the client it is cut."""
    cut_up: list[int] = field(default_factory=list)
    """For each new connection, after how many bytes to the service it is cut."""
    left: int | None = None
    """How many bytes pass until all connections are cut, and each new one."""
    sent: bytearray = field(default_factory=bytearray)
    """What clients sent."""
    num_connections: int = 0
    url: str = ""

    def connect(self, client: socket.socket) -> None:
        self.num_connections += 1
        service = socket.create_connection(("127.0.0.1", self.port))
        up = self.cut_up.pop(0) if self.cut_up else None
        down = self.cut_down.pop(0) if self.cut_down else None
        for source, target, left, change in (
            (client, service, up, self._record),
            (service, client, down, self._redirect),
        ):
            threading.Thread(target=self._pump, args=(source, target, left, change), daemon=True).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, left: int | None, change: Callable[[bytes], bytes]
    ) -> None:
        with suppress(OSError):
            while content := source.recv(_at_most(left, self.left)):
                left = None if left is None else left - len(content)
                self.left = None if self.left is None else max(0, self.left - len(content))
                target.sendall(change(content))
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _record(self, content: bytes) -> bytes:
        self.sent += content
        return content

    def _redirect(self, content: bytes) -> bytes:
        # The service answers with the URL where an upload continues: the proxy's, too. Both ports have five digits.
        return content.replace(f":{self.port}/".encode(), self.url.removeprefix("http://127.0.0.1").encode() + b"/")


@contextmanager
def run_proxy(way: CuttingProxy) -> Iterator[CuttingProxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        threading.Thread(target=_accept, args=(listener, way), daemon=True).start()
        yield way
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, way: CuttingProxy) -> None:
    with suppress(OSError):
        while True:
            way.connect(listener.accept()[0])


def _at_most(*limits: int | None) -> int:
    """Return how many bytes to read; 0 ends the connection."""
    return min([65536, *(limit for limit in limits if limit is not None)])
