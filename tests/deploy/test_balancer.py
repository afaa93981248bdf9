"""What the balancer does with requests that a host refuses, cuts off or never gets."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.server_process import free_ports
from serving.container.connection_drain import drain_connections
from serving.container.proxy import open_listener
from tests.deploy.running_balancer import run_balancer
from tests.http_server import serve_http
from tests.serving.container.running_proxy import PREDICT
from tests.serving.container.upstream import Upstream

NUM_REQUESTS = 20


@dataclass
class Balanced:
    client: httpx.Client
    hosts: tuple[Upstream, Upstream]

    def send(self, path: str = PREDICT) -> list[int]:
        """Return the statuses of as many requests, one after the other."""
        return [self.client.post(path, content=b"photo").status_code for _ in range(NUM_REQUESTS)]

    def received(self, path: str = PREDICT) -> list[int]:
        """Return how many of them each host has got."""
        return [sum(request["path"] == path for request in host.requests) for host in self.hosts]


@pytest.fixture
def balanced(nginx: None, tmp_path: Path) -> Iterator[Balanced]:
    hosts = Upstream(), Upstream()
    with serve_http(hosts[0].answer) as first, serve_http(hosts[1].answer) as second:
        addresses = first.removeprefix("http://"), second.removeprefix("http://")
        with (
            run_balancer(tmp_path, free_ports(1)[0], addresses) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            yield Balanced(client, hosts)


def test_idle_hosts_share_the_requests(balanced: Balanced) -> None:
    assert balanced.send() == [200] * NUM_REQUESTS

    assert balanced.received() == [NUM_REQUESTS / 2] * 2


@pytest.mark.parametrize(
    "path", [PREDICT, "/explanations/fruity", "/v1/models/fruity:predict", "/v2/models/fruity/infer"]
)
@pytest.mark.parametrize("status", [503, 0], ids=["busy or stopping", "no answer"])
def test_a_prediction_that_a_host_cannot_answer_is_answered_by_the_other(
    balanced: Balanced, path: str, status: int
) -> None:
    balanced.hosts[0].statuses.extend([status] * NUM_REQUESTS)

    assert balanced.send(path) == [200] * NUM_REQUESTS

    # After three failures it is asked no more.
    assert balanced.received(path) == [3, NUM_REQUESTS]


def test_a_host_that_is_away_costs_no_request(nginx: None, tmp_path: Path) -> None:
    host, (away, port) = Upstream(), free_ports(2)
    with (
        serve_http(host.answer) as url,
        run_balancer(tmp_path, port, (f"127.0.0.1:{away}", url.removeprefix("http://"))) as balancer,
        httpx.Client(base_url=balancer) as client,
    ):
        statuses = [client.post(PREDICT, content=b"photo").status_code for _ in range(NUM_REQUESTS)]

    assert statuses == [200] * NUM_REQUESTS


def test_answers_of_a_stopping_container_and_of_the_other_host_are_not_mixed(nginx: None, tmp_path: Path) -> None:
    (port,), over = free_ports(1), threading.Event()
    with open_listener(0) as listener, serve_http(lambda _: (200, b"right")) as url:
        draining = threading.Thread(target=drain_connections, args=(listener, over.is_set))
        draining.start()
        hosts = f"127.0.0.1:{listener.getsockname()[1]}", url.removeprefix("http://")
        with run_balancer(tmp_path, port, hosts) as balancer, httpx.Client(base_url=balancer) as client:
            answers = [client.post(PREDICT, content=bytes(59_000)) for _ in range(NUM_REQUESTS)]
        over.set()
        draining.join()

    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"right")}


def test_a_correction_is_not_sent_twice(balanced: Balanced) -> None:
    balanced.hosts[0].statuses.append(0)
    balanced.hosts[1].statuses.append(0)

    statuses = [balanced.client.post("/corrections", content=b"form").status_code for _ in range(2)]

    assert statuses == [502, 502]
    assert balanced.received("/corrections") == [1, 1]


@pytest.mark.parametrize("status", [500, 504, 429, 415])
def test_an_answer_that_another_host_would_repeat_is_passed_on(balanced: Balanced, status: int) -> None:
    for host in balanced.hosts:
        host.statuses.extend([status] * NUM_REQUESTS)

    assert balanced.send() == [status] * NUM_REQUESTS

    assert sum(balanced.received()) == NUM_REQUESTS


def test_hosts_that_are_all_busy_are_asked_again_as_soon_as_they_are_not(balanced: Balanced) -> None:
    for host in balanced.hosts:
        host.statuses.extend([503] * 2 * NUM_REQUESTS)
    busy = balanced.send()
    for host in balanced.hosts:
        host.statuses.clear()

    after = balanced.send()

    assert busy == [503] * NUM_REQUESTS
    assert after == [200] * NUM_REQUESTS


def test_a_client_cannot_pose_as_another(balanced: Balanced) -> None:
    balanced.client.post(PREDICT, content=b"photo", headers={"X-Forwarded-For": "192.0.2.1"})

    (request,) = [request for host in balanced.hosts for request in host.requests if request["path"] == PREDICT]
    assert request["headers"]["x-forwarded-for"] == "127.0.0.1"
