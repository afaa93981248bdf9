"""Who knocks while nginx finishes: told to come back, so that no connection is cut without an answer.

Closing the listening socket would reset connections that wait in its queue, maybe with a photo sent already.
"""

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable

_LINGER_S = 1.0
_POLL_S = 0.02
_MAX_AT_ONCE = 64
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


def refuse_newcomers(listener: socket.socket, is_over: Callable[[], bool], *, plain: bool = True) -> None:
    """Answer 503 to all who connect to *listener* until *is_over*, then close it; without *plain* (TLS) hang up."""
    while not is_over():
        if select.select([listener], [], [], _POLL_S)[0]:
            _refuse_waiting(listener, plain)
    # From here on the kernel keeps at most one waiting, and lets the others try again.
    listener.listen(0)
    _refuse_waiting(listener, plain)
    listener.close()


def _refuse_waiting(listener: socket.socket, plain: bool) -> None:
    # Accepted by nginx first, or gone again: both are no matter.
    with contextlib.suppress(BlockingIOError, ConnectionError):
        # Not until nobody waits: clients that come back at once would keep us here for ever.
        for _ in range(_MAX_AT_ONCE):
            connection, _ = listener.accept()
            threading.Thread(target=_refuse, args=(connection, plain), daemon=True).start()


def _refuse(connection: socket.socket, plain: bool) -> None:
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_LINGER_S)
        if plain:
            connection.sendall(_ANSWER)
        connection.shutdown(socket.SHUT_WR)
        # Unread bytes would turn the close into a reset, which can overtake the answer.
        while connection.recv(65536):
            pass
