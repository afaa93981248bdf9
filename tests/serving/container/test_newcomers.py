import errno
import json
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from serving.container.front import open_listener
from serving.container.newcomers import refuse_newcomers
from tests.serving.container.fronts import free_port


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


@pytest.mark.parametrize("waiting", [1, 5])
def test_whoever_waits_is_told_to_come_back_even_in_the_middle_of_a_photo(waiting: int) -> None:
    listener = open_listener(free_port())
    clients = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(waiting)]
    for client in clients:
        client.sendall(
            b"POST /predictions/fruity HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50_000)
        )

    refuse_newcomers(listener, lambda: True)

    for client in clients:
        with client:
            client.shutdown(socket.SHUT_WR)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"Retry-After: 1" in head
            assert json.loads(body)["type"] == "urn:fruity:stopping"


def test_whoever_comes_later_is_told_as_well_until_it_is_over() -> None:
    over = threading.Event()
    listener = open_listener(free_port())
    address = listener.getsockname()
    refusing = threading.Thread(target=refuse_newcomers, args=(listener, over.is_set))
    refusing.start()

    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        answer = read_all(client)
    over.set()
    refusing.join(timeout=10)

    assert answer.startswith(b"HTTP/1.1 503 ")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=10)


class Crowd(socket.socket):
    """A listener at which, for each who is let in, another one knocks, and one more when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.clients: list[socket.socket] = []
        self.most = 1_000_000
        self.bind(("127.0.0.1", 0))
        self.listen(511)
        self.knock()
        self.setblocking(False)

    def knock(self) -> None:
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(self.getsockname())
        self.clients.append(client)

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        accepted = super().accept()
        if len(self.clients) < self.most:
            self.knock()
        return accepted

    def close(self) -> None:
        self.knock()
        super().close()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with Crowd() as crowd:
        yield crowd
    for client in crowd.clients:
        client.close()


def test_a_crowd_that_comes_back_at_once_does_not_keep_the_container_alive(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It never lets the door be shut; fewer of it fit into the files that a process may open.
    monkeypatch.setattr("serving.container.newcomers._SETTLE_S", 0.1)

    refuse_newcomers(crowd, lambda: len(crowd.clients) > 100)

    assert crowd.fileno() == -1


def test_who_knocks_while_the_door_is_closed_is_never_cut_off(crowd: Crowd) -> None:
    crowd.most = 100

    refuse_newcomers(crowd, lambda: len(crowd.clients) >= crowd.most)

    outcomes = {connect_outcome(client) for client in crowd.clients}

    assert outcomes == {0, errno.ECONNREFUSED}


def connect_outcome(client: socket.socket) -> int:
    """Return 0 if *client* got its answer, else the number of the error it ended with."""
    select.select([], [client], [], 10)
    if error := client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return error
    try:
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 503 ")
    except OSError as cut_off:
        return cut_off.errno or -1
    return 0


def test_over_tls_whoever_comes_is_hung_up_on() -> None:
    listener = open_listener(free_port())
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        refuse_newcomers(listener, lambda: True, plain=False)
        client.shutdown(socket.SHUT_WR)

        assert read_all(client) == b""
