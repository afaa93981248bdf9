"""What the reverse proxy refuses: malformed, smuggled, too large, too slow and too many requests."""

import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.serving.container.running_proxy import PREDICT, RunningProxy, assert_is_problem, run_proxy
from tests.serving.container.upstream import Upstream

MEGABYTE = 1_000_000


def stream(size: int) -> Iterator[bytes]:
    for _ in range(size // 100_000):
        yield bytes(100_000)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused(client: httpx.Client, upstream: Upstream, announced: bool) -> None:
    below, above = 33 * MEGABYTE, 34 * MEGABYTE

    accepted, refused = (client.post(PREDICT, content=bytes(n) if announced else stream(n)) for n in (below, above))

    assert_is_problem(refused, 413, "too-large")
    assert accepted.json()["size"] == below
    assert len(upstream.requests) == 1


HEAD = b"POST /predictions/fruity HTTP/1.1\r\nHost: x\r\n"
MALFORMED = {
    "length and chunks": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 9\r\n\r\nabcd",
    "a negative length": HEAD + b"Content-Length: -4\r\n\r\nabcd",
    "a length with a plus": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "chunks twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /predictions/fruity HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "a zero byte": HEAD + b"X: a\0b\r\n\r\n",
    "two hosts": HEAD + b"Host: y\r\n\r\n",
    "no host": b"POST /predictions/fruity HTTP/1.1\r\n\r\n",
    "a header of 9 KiB": HEAD + b"X: " + b"a" * 9216 + b"\r\n\r\n",
    "headers of 40 KiB": HEAD + b"".join(b"X%d: %s\r\n" % (i, b"a" * 4096) for i in range(10)) + b"\r\n",
    "not HTTP": b"hello\r\n\r\n",
    "TLS": bytes.fromhex("16030100c5010000c10303") + bytes(186),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_and_the_next_client_is_served(
    proxy: RunningProxy, client: httpx.Client, upstream: Upstream, name: str
) -> None:
    answer = proxy.send(MALFORMED[name])

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in head.splitlines()[0]
    assert json.loads(body)["type"] == "urn:fruity:malformed-request"
    assert upstream.requests == []
    assert client.post(PREDICT, content=b"photo").status_code == 200


@pytest.mark.parametrize("chunk", [b"zz\r\nabcd\r\n", b"-4\r\nabcd\r\n", b"4\r\nabcdef\r\n", b"f" * 17 + b"\r\n"])
def test_an_invalid_chunk_is_refused(proxy: RunningProxy, upstream: Upstream, chunk: bytes) -> None:
    answer = proxy.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert upstream.requests == []


@pytest.mark.parametrize("encoding", [b"gzip, chunked", b"xchunked", b"identity"])
def test_an_unknown_transfer_encoding_is_refused(proxy: RunningProxy, upstream: Upstream, encoding: bytes) -> None:
    answer = proxy.send(HEAD + b"Transfer-Encoding: " + encoding + b"\r\nConnection: close\r\n\r\n0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 501 ")
    assert upstream.requests == []


def test_bytes_beyond_the_announced_length_are_not_part_of_the_photo(proxy: RunningProxy, upstream: Upstream) -> None:
    answer = proxy.send(
        HEAD + b"Content-Length: 4\r\n\r\nabcdGET /models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404"]
    assert [asked["size"] for asked in upstream.requests] == [4]


def test_a_body_shorter_than_announced_never_reaches_torchserve(proxy: RunningProxy, upstream: Upstream) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as connection:
        connection.sendall(HEAD + b"Content-Length: 400\r\n\r\nabcd")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)

    assert answer == b""
    assert upstream.requests == []


def test_400_slow_and_idle_connections_block_no_other_client(proxy: RunningProxy, client: httpx.Client) -> None:
    with ExitStack() as stack:
        for number in range(400):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
            if number % 2:
                connection.sendall(HEAD[: number % 30 + 1])

        statuses = [client.post(PREDICT, content=b"photo").status_code for _ in range(20)]

    assert statuses == [200] * 20


def test_requests_in_flight_of_a_client_are_limited(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    released = threading.Event()
    upstream.before_answer = lambda: released.wait(timeout=30)
    with run_proxy(tmp_path, upstream.url, connections_per_client=2) as proxy, ThreadPoolExecutor(6) as clients:
        asking = [clients.submit(httpx.post, f"{proxy.url}{PREDICT}", content=b"photo", timeout=60) for _ in range(6)]
        refused = [done.result() for done in itertools.islice(as_completed(asking), 4)]
        released.set()
        statuses = [done.result().status_code for done in asking]

    assert sorted(statuses) == [200, 200, 429, 429, 429, 429]
    for response in refused:
        assert_is_problem(response, 429, "too-many-requests")
        assert response.headers["retry-after"] == "1"


def test_requests_per_second_of_a_client_are_limited(nginx: None, upstream: Upstream, tmp_path: Path) -> None:
    with run_proxy(tmp_path, upstream.url, requests_per_client=1) as proxy:
        statuses = [httpx.post(f"{proxy.url}{PREDICT}", content=b"photo").status_code for _ in range(12)]

    assert statuses[:3] == [200] * 3
    assert 429 in statuses
