"""What fruity depends on in TorchServe 0.12, and how it is started and stopped."""

import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from handler.monitor import INTERVAL_S
from handler.request import PROBE
from serving.model_store import DEFAULT_ARCHIVE, ROOT, stage
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.end_to_end.photos import ESPRESSO, coffee, encode
from tests.end_to_end.server import READY_S, run_server, write_config
from tests.end_to_end.versions import HANDLER, Edit, crash_on_load, write_version

pytestmark = pytest.mark.server


def read_metrics(metrics: httpx.Client) -> dict[str, float]:
    """Return the sum over all labels of each sample."""
    # Without its types: the parser would give counters the ending that TorchServe leaves out.
    samples = "\n".join(line for line in metrics.get("/metrics").text.splitlines() if not line.startswith("#"))
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(samples):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


def read_increase(
    metrics: httpx.Client, before: Mapping[str, float], expected: Mapping[str, float]
) -> dict[str, float]:
    """Return by how much the samples of *expected* have increased; a worker emits its metrics every `INTERVAL_S`."""
    deadline = time.monotonic() + 20
    while True:
        after = read_metrics(metrics)
        increase = {name: after.get(name, 0) - before.get(name, 0) for name in expected}
        if increase == expected or time.monotonic() > deadline:
            return increase
        time.sleep(0.1)


@pytest.fixture(scope="module")
def settled_metrics(metrics: httpx.Client) -> httpx.Client:
    """The metrics once they hold all that the tests of other files have asked."""
    time.sleep(INTERVAL_S + 1)
    return metrics


@pytest.fixture
def patient_model(management: httpx.Client) -> Iterator[str]:
    """The same archive under another name, with one worker that waits one second for a batch of 4."""
    batch = {"batch_size": 4, "max_batch_delay": 1000, "initial_workers": 1, "synchronous": True}
    response = management.post("/models", params={"url": "fruity.mar", "model_name": "patient", **batch})
    assert response.status_code == 200, response.text
    yield "patient"
    management.delete("/models/patient")


def test_good_and_bad_photos_of_one_batch_get_their_own_answers(
    inference: httpx.Client, settled_metrics: httpx.Client, patient_model: str
) -> None:
    bodies = [coffee(), b"not a photo", coffee()[:4000], encode(coffee(), "jpeg")]
    before = read_metrics(settled_metrics)

    with ThreadPoolExecutor(4) as clients:
        path = f"/predictions/{patient_model}"
        responses = list(clients.map(lambda body: inference.post(path, content=body), bodies))

    assert [response.status_code for response in responses] == [200, 415, 422, 200]
    assert responses[0].json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    assert responses[3].json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    # One more inference for the two good photos: all four requests were one batch.
    expected = {"fruity_inference_seconds_count": 1, "fruity_batch_photos_sum": 2, "fruity_handler_seconds_count": 1}
    assert read_increase(settled_metrics, before, expected) == expected


def test_a_photo_shows_in_the_metrics(inference: httpx.Client, settled_metrics: httpx.Client) -> None:
    before = read_metrics(settled_metrics)

    inference.post("/predictions/fruity", content=coffee())
    inference.post("/predictions/fruity", content=b"not a photo")

    expected = {
        "fruity_requests_total": 2,
        "fruity_photos_total": 2,
        "fruity_labels_total": 1,
        "fruity_media_types_total": 1,
        "fruity_confidence_count": 1,
        "fruity_decode_seconds_count": 2,
        "fruity_preprocess_seconds_count": 1,
        "fruity_photo_bytes_sum": len(coffee()),
        "ts_inference_requests_total": 2,
    }
    assert read_increase(settled_metrics, before, expected) == expected


def test_a_probe_is_answered_and_not_counted(inference: httpx.Client, settled_metrics: httpx.Client) -> None:
    before = read_metrics(settled_metrics)

    probe = inference.post("/predictions/fruity", content=coffee(), headers={PROBE: "readiness"})
    inference.post("/predictions/fruity", content=b"not a photo")

    assert probe.json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    expected = {"fruity_requests_total": 1, "fruity_photos_total": 1, "fruity_handler_seconds_count": 1}
    assert read_increase(settled_metrics, before, expected) == expected


def test_each_answered_photo_is_logged_once_under_the_request_id_of_its_response(tmp_path: Path) -> None:
    with (
        run_server(tmp_path, environment={"PREDICTION_LOG": str(tmp_path / "log")}) as server,
        httpx.Client(base_url=server.addresses.inference, timeout=60) as inference,
    ):
        with ThreadPoolExecutor(4) as clients:
            photos = [coffee(), b"not a photo", *[encode(coffee(), "jpeg")] * 10]
            responses = list(clients.map(lambda photo: inference.post("/predictions/fruity", content=photo), photos))
        # Before the server ends: a line is written before its answer is sent.
        files = [path.read_text().splitlines() for path in (tmp_path / "log").iterdir()]

    lines = {line["id"]: line for line in map(json.loads, itertools.chain(*files))}
    answered = [response for response in responses if response.status_code == 200]
    assert len(answered) == 11
    assert sum(map(len, files)) == len(lines)
    assert set(lines) == {f"{response.headers['x-request-id']}/0" for response in answered}
    assert {line["digest"] for line in lines.values()} == {
        hashlib.sha256(photo).hexdigest() for photo in (coffee(), encode(coffee(), "jpeg"))
    }


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://127.0.0.1:1/x.mar", "../config.properties", "nothing.mar"]
)
def test_only_the_model_store_can_be_registered_from(management: httpx.Client, url: str) -> None:
    response = management.post("/models", params={"url": url})

    assert response.status_code == 404


def test_a_server_logs_a_line_for_each_request_and_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, httpx.Client(base_url=server.addresses.inference) as client:
        described = httpx.get(f"{server.addresses.management}/models/fruity").json()[0]
        for _ in range(10):
            client.post("/predictions/fruity", content=b"not a photo")

    # As log4j2.xml writes them; the first are of the golden samples.
    lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    statuses = [line["status"] for line in lines if line["path"] == "/predictions/fruity"]
    assert {line["severity"] for line in lines} == {"INFO"}
    assert statuses[-10:] == [415] * 10
    assert set(statuses[:-10]) == {200}
    # Killed processes are there until init has reaped them.
    pids = [worker["pid"] for worker in described["workers"]]
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.addresses.inference}/ping")


@pytest.mark.parametrize(
    ("edits", "reason", "said"),
    [
        (None, "archive", "; its log says why"),
        (
            {HANDLER: crash_on_load},
            "made to crash",
            "ended with RuntimeError: made to crash.; its log says why",
        ),
    ],
    ids=["not a zip file", "a handler that raises"],
)
def test_an_archive_that_does_not_load_ends_the_wait_in_time_and_the_log_says_why(
    tmp_path: Path, edits: dict[str, Edit] | None, reason: str, said: str
) -> None:
    staged = stage(write_version(tmp_path / "bad", "1.1.0", edits), tmp_path / "model_store")
    if edits is None:
        staged.write_bytes(b"not a zip file")

    with (
        (tmp_path / "server.log").open("wb") as log,
        TorchServe(write_config(tmp_path), ROOT, DEFAULT_ARCHIVE, output=log.fileno()) as server,
        pytest.raises(TorchServeError, match=said),
    ):
        server.wait_until_ready(timeout_s=15)

    log_text = (tmp_path / "server.log").read_text()
    assert reason in log_text
    lines = [json.loads(line) for line in log_text.splitlines() if "made to crash" in line]
    assert {(line["severity"], "Traceback" in line["message"]) for line in lines} <= {("ERROR", True)}


def test_a_bare_torchserve_starts_and_stops_with_the_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    stage(DEFAULT_ARCHIVE, tmp_path / "model_store")
    torchserve = str(Path(sys.executable).with_name("torchserve"))
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    url = f"{Addresses.read(config).inference}/predictions/fruity"

    with (tmp_path / "server.log").open("wb") as log:
        start = [torchserve, "--start", "--ts-config", str(config)]
        subprocess.run(start, env=environment, cwd=ROOT, check=True, stdout=log, stderr=log)
    answer = wait_for_answer(url)
    stopped = subprocess.run([torchserve, "--stop"], env=environment, capture_output=True, text=True, check=True)

    assert answer["predictions"][0]["labels"][0]["label"] == ESPRESSO
    assert "TorchServe has stopped" in stopped.stdout


def wait_for_answer(url: str) -> Any:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            response = httpx.post(url, content=coffee(), timeout=READY_S)
            if response.status_code == httpx.codes.OK:
                return response.json()
        time.sleep(0.1)
    raise AssertionError(f"{url} gave no answer in {READY_S} s")
