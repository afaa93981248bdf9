import errno
import json
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.server_process import free_ports
from serving.container.connection_drain import drain_connections
from serving.container.proxy import open_listener


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with open_listener(free_ports(1)[0]) as listener:
        yield listener


def read_all(connection: socket.socket) -> bytes:
    """Close the connection for writing; return what comes until the other side closes it."""
    connection.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_queued_and_later_connections_get_503_until_the_port_is_closed(listener: socket.socket) -> None:
    over, address = threading.Event(), listener.getsockname()
    clients = [socket.create_connection(address, timeout=10) for _ in range(5)]
    for client in clients:
        # In the middle of a photo.
        client.sendall(b"POST /predictions/fruity HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000))

    draining = threading.Thread(target=drain_connections, args=(listener, over.is_set))
    draining.start()
    clients.append(socket.create_connection(address, timeout=10))
    answers = [read_all(client) for client in clients]
    over.set()
    draining.join(timeout=10)

    for client, answer in zip(clients, answers, strict=True):
        client.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1" in head
        assert json.loads(body)["type"] == "urn:fruity:stopping"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


def test_no_answer_comes_before_the_request(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        over = threading.Event()
        draining = threading.Thread(target=drain_connections, args=(listener, over.is_set))
        draining.start()
        early = select.select([client], [], [], 0.3)[0]
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = read_all(client)
        over.set()
        draining.join(timeout=10)

    assert early == []
    assert answer.startswith(b"HTTP/1.1 503 ")


def test_over_tls_a_connection_is_closed_unanswered(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        drain_connections(listener, lambda: True, tls=True)

        assert read_all(client) == b""


class CrowdedListener(socket.socket):
    """A listener with a new client for each that is accepted, and one more when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[socket.socket] = []
        self.max_clients = 1_000_000
        self.bind(("127.0.0.1", 0))
        self.listen(511)
        self.add_client()
        self.setblocking(False)

    def add_client(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self.getsockname())
        self.clients.append(client)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        accepted = super().accept()
        if len(self.clients) < self.max_clients:
            self.add_client()
        return accepted

    def close(self) -> None:
        self.add_client()
        super().close()


@pytest.fixture
def crowd() -> Iterator[CrowdedListener]:
    with CrowdedListener() as crowd:
        yield crowd
    for client in crowd.clients:
        client.close()


def test_clients_that_reconnect_at_once_do_not_keep_the_container_alive(
    crowd: CrowdedListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The queue is never empty; in half a second there would be more clients than a process may open files.
    monkeypatch.setattr("serving.container.connection_drain._CLOSE_S", 0.1)

    drain_connections(crowd, lambda: len(crowd.clients) > 100)

    assert crowd.fileno() == -1


def test_no_connection_is_reset_while_the_port_closes(crowd: CrowdedListener) -> None:
    crowd.max_clients = 100

    drain_connections(crowd, lambda: len(crowd.clients) >= crowd.max_clients)

    assert {read_outcome(client) for client in crowd.clients} == {0, errno.ECONNREFUSED}


def read_outcome(client: socket.socket) -> int:
    """Return 0 if *client* got its answer, else the number of its error."""
    select.select([], [client], [], 10)
    if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return error
    try:
        client.setblocking(True)
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    except OSError as reset:
        return reset.errno or -1
    return 0
