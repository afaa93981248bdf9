import httpx
import pytest

from model_archive.golden import GoldenSample
from serving.management import Management, Version
from serving.readiness import Busy, NotReady, NotRegistered, check_ready

GOLDEN = [GoldenSample(b"png", "apple", 0.9), GoldenSample(b"png", "apple", 0.9, unfamiliar=False)]


def describe(*statuses: str, min_workers: int = 2) -> httpx.Response:
    workers = [
        {"id": f"900{number}", "pid": 11 + number, "status": status, "startTime": "2026-01-01"}
        for number, status in enumerate(statuses)
    ]
    version = {"modelVersion": "1.2.3", "modelUrl": "/store/fruity-1.2.3.mar", "minWorkers": min_workers}
    queue = {"responseTimeout": 30, "jobQueueStatus": {"pendingRequests": 0}}
    return httpx.Response(200, json=[{**version, **queue, "workers": workers}])


def label(label: str, *, unfamiliar: bool = False) -> httpx.Response:
    predictions = [{"photo": "body", "labels": [{"label": label, "probability": 0.9}], "unfamiliar": unfamiliar}]
    return httpx.Response(200, json={"predictions": predictions})


def client(management: httpx.Response, inference: httpx.Response | None = None) -> httpx.Client:
    """Return a client of a server that gives these two responses; any other request is an error."""
    responses = {("GET", "/models/fruity"): management, ("POST", "/predictions/fruity"): inference}

    def answer(request: httpx.Request) -> httpx.Response:
        response = responses[request.method, request.url.path]
        assert response is not None, f"{request.url} must not be asked"
        return response

    return httpx.Client(transport=httpx.MockTransport(answer), base_url="http://server")


def check(clients: httpx.Client) -> Version:
    return check_ready(clients, Management(clients), lambda _: GOLDEN)


def test_a_server_with_ready_workers_and_the_known_label_is_ready() -> None:
    default = check(client(describe("READY", "READY"), label("apple")))

    assert (default.model_version, default.model_url) == ("1.2.3", "/store/fruity-1.2.3.mar")
    assert [worker.pid for worker in default.workers] == [11, 12]


@pytest.mark.parametrize(
    ("management", "reason"),
    [
        (httpx.Response(500), "500"),
        (httpx.Response(200, text="hello"), "is it TorchServe"),
        (describe("READY", "UNLOADING"), "1 of 2 workers"),
        (describe(), "0 of 2 workers"),
        (describe(min_workers=0), "0 of 0 workers"),
    ],
)
def test_without_enough_ready_workers_no_photo_is_sent(management: httpx.Response, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        check(client(management))


def test_a_model_that_is_not_registered_is_told_from_one_that_is_not_ready_yet() -> None:
    with pytest.raises(NotRegistered, match="fruity"):
        check(client(httpx.Response(404)))


@pytest.mark.parametrize(
    ("inference", "error", "reason"),
    [
        (httpx.Response(503, text="full"), Busy, "503: full"),
        (httpx.Response(500, text="oh"), NotReady, "500: oh"),
        (label("pear"), NotReady, "'pear', it must get 'apple'"),
        (httpx.Response(200, json={"predictions": []}), NotReady, "no label"),
        (label("apple", unfamiliar=True), NotReady, "unfamiliar=True, it must get False"),
    ],
)
def test_a_golden_sample_without_its_known_label_is_the_reason(
    inference: httpx.Response, error: type[NotReady], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        check(client(describe("READY", "READY"), inference))


def test_a_server_that_refuses_the_connection_is_not_ready() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    refusing = httpx.Client(transport=httpx.MockTransport(refuse), base_url="http://server")

    for management in (refusing, client(describe("READY", "READY"))):
        with pytest.raises(NotReady, match=r"^connection refused$"):
            check_ready(refusing, Management(management), lambda _: GOLDEN)


def test_a_worker_that_hangs_is_named() -> None:
    """TorchServe's /ping says Healthy."""

    def hang(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadTimeout("timed out")
        return describe("READY", "READY")

    hanging = httpx.Client(transport=httpx.MockTransport(hang), base_url="http://server")

    with pytest.raises(NotReady, match=r"^the golden sample got no answer \(timed out\); a worker hangs"):
        check(hanging)
