from typing import Any

import httpx
import pytest

from model_archive.golden import GoldenPhoto
from serving.readiness import Busy, DefaultVersion, NotReady, NotRegistered, check_ready, read_default

GOLDEN = [GoldenPhoto(b"png", "apple", 0.9)]


def describe(*statuses: str, min_workers: int = 2) -> list[dict[str, Any]]:
    workers = [{"id": str(number), "status": status} for number, status in enumerate(statuses)]
    return [{"modelVersion": "1.2.3", "minWorkers": min_workers, "workers": workers}]


def say(label: str) -> dict[str, Any]:
    return {"predictions": [{"photo": "body", "labels": [{"label": label, "probability": 0.9}]}]}


def check(management: httpx.Response, inference: httpx.Response | None = None) -> str:
    """Ask a server that gives these two responses, and to any other request none."""
    responses = {("GET", "/models/fruity"): management, ("POST", "/predictions/fruity"): inference}
    transport = httpx.MockTransport(lambda request: responses[request.method, request.url.path] or _fail(request))
    with httpx.Client(transport=transport, base_url="http://server") as client:
        return check_ready(client, client, "fruity", GOLDEN)


def _fail(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.url} was not to be asked")


def test_a_server_with_ready_workers_and_the_known_answer_is_ready() -> None:
    version = check(httpx.Response(200, json=describe("READY", "READY")), httpx.Response(200, json=say("apple")))

    assert version == "1.2.3"


@pytest.mark.parametrize(
    ("management", "reason"),
    [
        (httpx.Response(500), "500 Internal Server Error"),
        (httpx.Response(200, json=describe("READY", "UNLOADING")), "1 of 2 workers are ready"),
        (httpx.Response(200, json=describe()), "0 of 2 workers are ready"),
        (httpx.Response(200, json=describe(min_workers=0)), "0 of 0 workers are ready"),
    ],
)
def test_without_enough_ready_workers_no_photo_is_sent(management: httpx.Response, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        check(management)


def test_a_model_that_is_not_registered_is_told_from_one_that_is_not_ready_yet() -> None:
    with pytest.raises(NotRegistered, match="TorchServe runs, but the model fruity is not registered with it"):
        check(httpx.Response(404))


@pytest.mark.parametrize(
    ("inference", "reason"),
    [
        (httpx.Response(503, text="no worker"), "the canned photo got 503: no worker"),
        (httpx.Response(200, json=say("pear")), "got the label 'pear', the model that was built says 'apple'"),
        (httpx.Response(200, json={"predictions": []}), "the canned photo got no label: the answer is no prediction"),
    ],
)
def test_a_canned_photo_without_its_known_answer_is_the_reason(inference: httpx.Response, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        check(httpx.Response(200, json=describe("READY", "READY")), inference)


def test_a_full_queue_is_told_from_other_reasons() -> None:
    with pytest.raises(Busy, match="the canned photo got 503: full"):
        check(httpx.Response(200, json=describe("READY", "READY")), httpx.Response(503, text="full"))


def read(response: httpx.Response) -> DefaultVersion:
    transport = httpx.MockTransport(lambda _: response)
    with httpx.Client(transport=transport, base_url="http://server") as client:
        return read_default(client, "fruity")


def test_the_default_version_is_read_with_its_archive_and_its_workers() -> None:
    workers = [{"id": "9000", "pid": 11}, {"id": "9001", "pid": 12}]
    description = {"modelVersion": "1.2.3", "modelUrl": "/store/fruity-1.2.3.mar", "workers": workers}

    default = read(httpx.Response(200, json=[description]))

    assert default == DefaultVersion("1.2.3", "fruity-1.2.3.mar", {"1.2.3/9000": 11, "1.2.3/9001": 12})


def test_a_server_that_cannot_say_its_default_version_is_not_ready() -> None:
    with pytest.raises(NotReady, match="500 Internal Server Error"):
        read(httpx.Response(500))


def test_a_server_that_refuses_the_connection_is_not_ready() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with (
        httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://server") as client,
        pytest.raises(NotReady, match="connection refused"),
    ):
        check_ready(client, client, "fruity", GOLDEN)
