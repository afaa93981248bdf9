"""Who knocks while nginx finishes: told to come back, so that no connection is cut without an answer.

Closing the listening socket would reset connections that wait in its queue, maybe with a photo sent already.
"""

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable

_LINGER_S = 1.0
_POLL_S = 0.02
# To get the door shut, and then for those who have yet to read their answer.
_SETTLE_S = 0.5
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
    _refuse_until(is_over, listener, plain)
    _shut_the_door(listener, plain)
    listener.close()


def _shut_the_door(listener: socket.socket, plain: bool) -> None:
    """Fill *listener*'s queue with a connection of our own: the kernel ignores whoever knocks now.

    It tries again after 1 s, and finds the socket closed. Somebody always comes between the last accept and the close,
    and would be reset; now that is our own connection.
    """
    listener.listen(0)
    deadline = time.monotonic() + _SETTLE_S
    while time.monotonic() < deadline:
        _refuse_waiting(listener, plain)
        # On loopback at once, if nobody else is in the queue.
        with contextlib.suppress(TimeoutError), socket.create_connection(listener.getsockname(), timeout=_POLL_S):
            time.sleep(_SETTLE_S)
            return


def _refuse_until(is_over: Callable[[], bool], listener: socket.socket, plain: bool) -> None:
    while not is_over():
        if select.select([listener], [], [], _POLL_S)[0]:
            _refuse_waiting(listener, plain)


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
