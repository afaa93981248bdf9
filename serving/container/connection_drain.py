"""New connections while nginx finishes its requests: answered with 503, so that none is reset.

Closing the listening socket would reset the connections in its queue, perhaps after a photo was sent.
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable

_POLL_S = 0.02
# The time to fill the queue, and then for clients to read their answer.
_CLOSE_S = 0.5
_MAX_PER_POLL = 64
_BODY = json.dumps(
    {
        "type": "urn:fruity:stopping",
        "title": "The server is stopping",
        "status": 503,
        "detail": "this server takes no new connections; try again after Retry-After seconds",
    }
)
_ANSWER = (
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nConnection: close\r\n"
    f"Retry-After: 1\r\nContent-Length: {len(_BODY)}\r\n\r\n{_BODY}"
).encode()


def drain_connections(listener: socket.socket, is_over: Callable[[], bool], *, tls: bool = False) -> None:
    """Answer 503 to new connections of *listener* until *is_over*, then close it; with *tls* close them unanswered."""
    while not is_over():
        if select.select([listener], [], [], _POLL_S)[0]:
            _refuse_queued(listener, tls)
    _stop_queueing(listener, tls)
    listener.close()


def _stop_queueing(listener: socket.socket, tls: bool) -> None:
    """Fill *listener*'s queue with a connection of our own, so that none but this can be reset by the close.

    The kernel ignores new connections from now on; the client's kernel tries again after 1 s, at a closed port.
    """
    listener.listen(0)
    deadline = time.monotonic() + _CLOSE_S
    while time.monotonic() < deadline:
        _refuse_queued(listener, tls)
        # Succeeds at once on loopback when the queue is empty.
        with contextlib.suppress(TimeoutError), socket.create_connection(listener.getsockname(), timeout=_POLL_S):
            time.sleep(_CLOSE_S)
            return


def _refuse_queued(listener: socket.socket, tls: bool) -> None:
    # nginx may have accepted it first, or the client may be gone.
    with contextlib.suppress(BlockingIOError, ConnectionError):
        # Bounded: clients that reconnect at once would keep this loop running.
        for _ in range(_MAX_PER_POLL):
            connection, _ = listener.accept()
            threading.Thread(target=_refuse, args=(connection, tls), daemon=True).start()


def _refuse(connection: socket.socket, tls: bool) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(1)
        if not tls:
            # An answer before its request becomes, in nginx 1.22 as a balancer, the head of the next host's answer.
            connection.recv(65536)
            connection.sendall(_ANSWER)
        connection.shutdown(socket.SHUT_WR)
        # Closing with unread bytes would send a reset, which can overtake the answer.
        while connection.recv(65536):
            pass
