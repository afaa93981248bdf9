import re
from pathlib import Path

import numpy as np
import pytest

from handler.batch_decoding import Preprocessed
from handler.decode import Header
from handler.preprocess import ModelInput
from handler.problem import NotAPhoto
from handler.server_timing import time_requests
from tests.handler.worker import Worker, instances, raw

STAGES = ["decode", "preprocess", "inference", "handler"]


def test_a_request_has_the_durations_of_its_own_photos_and_of_its_batch_in_milliseconds() -> None:
    given = ModelInput(b"", np.zeros((1, 1, 3), np.uint8), Header(1, 1, "image/png"), 0.25, 0.002)
    first, text, last = Preprocessed(given, 0.25), Preprocessed(NotAPhoto("text"), 0.001), Preprocessed(given, 0.5)

    headers = list(time_requests([[first], [], [text, last], [text]], inference_seconds=0.004, handler_seconds=1.0))

    assert headers == [
        "decode;dur=250.00, preprocess;dur=2.00, inference;dur=4.00, handler;dur=1000.00",
        "decode;dur=0.00, preprocess;dur=0.00, inference;dur=0.00, handler;dur=1000.00",
        "decode;dur=501.00, preprocess;dur=2.00, inference;dur=4.00, handler;dur=1000.00",
        "decode;dur=1.00, preprocess;dur=0.00, inference;dur=0.00, handler;dur=1000.00",
    ]


@pytest.fixture(scope="module")
def worker(default_folder: Path) -> Worker:
    return Worker(default_folder)


def test_each_answer_has_its_timing_also_a_problem(worker: Worker, coffee: bytes) -> None:
    responses = worker.answer(raw(coffee), raw(b"text"), instances(coffee, b""))

    for response in responses:
        timing = {name: float(ms) for name, ms in re.findall(r"(\w+);dur=([\d.]+)", response.headers["Server-Timing"])}
        assert list(timing) == STAGES
        assert timing["handler"] >= max(timing["decode"] + timing["preprocess"], timing["inference"])
    assert [float(one.headers["Server-Timing"].split("inference;dur=")[1].split(",")[0]) > 0 for one in responses] == [
        True,
        False,
        True,
    ]


def test_a_busy_answer_says_when_to_try_again(default_folder: Path, coffee: bytes) -> None:
    limits = {"max_photo_seconds": 0.02, "max_request_seconds": 0.02, "max_batch_seconds": 0.02}
    worker = Worker(default_folder, limits=limits)

    responses = worker.answer(raw(coffee), raw(coffee), raw(b"text"))

    assert [response.status for response in responses] == [200, 503, 415]
    assert [response.headers.get("Retry-After") for response in responses] == [None, "1", None]
