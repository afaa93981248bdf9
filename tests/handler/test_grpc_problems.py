"""A call over gRPC that cannot be answered does not look like one that was."""

import json
import logging
from pathlib import Path

import pytest
from ts.context import Context
from ts.service import Service
from ts.utils.util import PredictionException

from handler.answer import answer_problem
from handler.grpc_problems import answer_over_grpc
from handler.problem import Busy, MalformedRequest, Problem
from handler.protocols import Call, Protocol
from tests.handler.calls import over_grpc
from tests.handler.worker import Worker, first_labels, instances, raw
from tests.pictures import draw_waves, encode

CUT = encode(draw_waves(200, 200), "JPEG")[:2000]


@pytest.fixture(scope="module")
def worker(default_folder: Path) -> Worker:
    return Worker(default_folder)


@pytest.mark.parametrize("key", ["body", "data"])
def test_a_photo_gets_its_label_under_both_keys(worker: Worker, coffee: bytes, key: str) -> None:
    (response,) = worker.answer(over_grpc(**{key: coffee}))

    assert first_labels(response) == ["espresso"]


def test_json_gets_all_labels_and_a_stream_its_end(worker: Worker, coffee: bytes, cat: bytes) -> None:
    body = instances(coffee, b"text", cat)[0]["body"]

    (response,) = worker.answer(over_grpc(data=bytes(body)))

    assert first_labels(response) == ["espresso", "error 415", "not food"]
    assert response.headers["ts_stream_next"] == "false"
    (over_http,) = worker.answer(raw(coffee))
    assert "ts_stream_next" not in over_http.headers


@pytest.mark.parametrize(
    ("inputs", "kind", "detail"),
    [
        ({"body": b"text"}, "not-a-photo", "these 4 bytes"),
        ({"data": b""}, "malformed-request", "the photo is empty"),
        ({"image": b"x", "top_k": b"1"}, "malformed-request", "are image, top_k; send"),
        ({}, "malformed-request", "are none; send"),
        ({"body": CUT}, "unusable-photo", "broken or cut short"),
    ],
)
def test_a_problem_is_raised_with_a_status(worker: Worker, inputs: dict[str, bytes], kind: str, detail: str) -> None:
    with pytest.raises(PredictionException) as raised:
        worker.answer(over_grpc(**inputs))

    problem = json.loads(raised.value.message)
    assert (raised.value.error_code, problem["type"]) == (400, f"urn:fruity:{kind}")
    assert detail in problem["detail"]


def test_problems_of_several_calls_are_raised_without_one_of_another_client(worker: Worker) -> None:
    with pytest.raises(PredictionException) as alike:
        worker.answer(over_grpc(body=b"text"), over_grpc(data=b"text"))
    with pytest.raises(PredictionException) as different:
        worker.answer(over_grpc(body=b"text"), over_grpc(body=b""))

    assert "these 4 bytes" in alike.value.message
    assert "send it again alone" in json.loads(different.value.message)["detail"]


class Headers:
    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Take a header."""


@pytest.mark.parametrize("others", [[], [MalformedRequest("it is cut")]])
def test_a_server_that_is_busy_is_unavailable(others: list[Problem]) -> None:
    problems = [Busy("ask again"), *others]

    with pytest.raises(PredictionException) as raised:
        answer_over_grpc([Call(Protocol.GRPC, one) for one in problems], list(map(answer_problem, problems)), Headers())

    assert raised.value.error_code == 503


def test_a_problem_costs_others_of_its_batch_nothing(worker: Worker, coffee: bytes) -> None:
    bad, good, over_http = worker.answer(over_grpc(body=b"text"), over_grpc(body=coffee), raw(coffee))
    worse, refused = worker.answer(over_grpc(body=b"text"), raw(b"text"))

    assert json.loads(bad.body)["status"] == json.loads(worse.body)["status"] == 415
    assert first_labels(good) == first_labels(over_http) == ["espresso"]
    assert refused.status == 415


def test_torchserve_logs_no_traceback_of_a_photos_problem_but_those_of_bugs(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service("fruity", "", None, lambda rows, _: worker.answer(*((row, {}) for row in rows)), None, 1)
    service.set_cl_socket(None)
    worker_context: Context = service.context
    worker_context.metrics = worker.handler._monitor  # any object that takes the ids
    batch = [{"requestId": b"1", "parameters": [{"name": "body", "value": b"text", "contentType": ""}]}]

    service.predict(batch)
    assert [record for record in caplog.records if record.name == "ts.service"] == []

    logging.getLogger("ts.service").error("Prediction error", exc_info=ValueError("a bug"))
    assert "a bug" in caplog.text
