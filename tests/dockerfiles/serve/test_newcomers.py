import json
import socket
import threading

import pytest

from dockerfiles.serve.front import open_listener
from dockerfiles.serve.newcomers import refuse_newcomers
from tests.dockerfiles.serve.fronts import free_port


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


def test_over_tls_whoever_comes_is_hung_up_on() -> None:
    listener = open_listener(free_port())
    with socket.create_connection(listener.getsockname(), timeout=10) as client:
        refuse_newcomers(listener, lambda: True, plain=False)
        client.shutdown(socket.SHUT_WR)

        assert read_all(client) == b""
