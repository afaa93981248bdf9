"""Bucket services that fail: one with a fixed answer, and a TCP proxy that cuts connections to a working one."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Service:
    """A bucket service that answers each request with *status* and *body*."""

    status: int = 200
    body: str = "{}"


@dataclass
class CuttingProxy:
    """A TCP proxy that cuts its connections."""

    port: int
    """Of the service behind it."""
    left: int | None = None
    """How many bytes pass until all connections are cut, and each new one."""
    sent: bytearray = field(default_factory=bytearray)
    """What clients sent."""
    url: str = ""

    def connect(self, client: socket.socket) -> None:
        service = socket.create_connection(("127.0.0.1", self.port))
        for way in ((client, service, self._record), (service, client, self._redirect)):
            threading.Thread(target=self._pump, args=way, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, change: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            # To read 0 bytes ends the connection.
            while content := source.recv(65536 if self.left is None else min(65536, self.left)):
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
