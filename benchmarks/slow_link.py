"""A network link of a known speed before a server on this machine: a relay that sends at most so many Mbit/s to it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

_PIECE = 65_536
# A busy machine wakes the relay late; so much of the lost time it makes up for.
_BURST_S = 0.1


class _Link:
    """What all connections share: the time until which what was sent before keeps the link busy."""

    def __init__(self, mbit_per_s: float) -> None:
        self._bytes_per_s, self._free_at_s, self._lock = mbit_per_s * 1e6 / 8, 0.0, threading.Lock()

    def wait_for(self, num_bytes: int) -> None:
        """Return once the link has carried *num_bytes* more."""
        with self._lock:
            now_s = time.monotonic()
            self._free_at_s = max(now_s - _BURST_S, self._free_at_s) + num_bytes / self._bytes_per_s
            wait_s = self._free_at_s - now_s
        time.sleep(max(0.0, wait_s))


@contextmanager
def limit_upload(url: str, mbit_per_s: float) -> Iterator[str]:
    """Relay to the server at *url*, http://host:port, while the block runs; yields the relay's own URL.

    Requests get *mbit_per_s* in all, answers are not limited.
    """
    link, target = _Link(mbit_per_s), urlsplit(url)

    class Connection(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((target.hostname, target.port)) as server:
                answers = threading.Thread(target=_copy, args=(server, self.request))
                answers.start()
                _copy(self.request, server, link)
                answers.join()

    class Relay(ThreadingTCPServer):
        request_queue_size = 128

    with Relay(("127.0.0.1", 0), Connection) as relay:
        threading.Thread(target=relay.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{relay.server_address[1]}"
        finally:
            relay.shutdown()


def _copy(source: socket.socket, target: socket.socket, link: _Link | None = None) -> None:
    target.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            if link is not None:
                link.wait_for(len(piece))
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
