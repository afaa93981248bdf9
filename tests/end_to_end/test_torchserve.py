"""What fruity depends on in TorchServe 0.12, and how it is started and stopped."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.model_store import DEFAULT_ARCHIVE, ROOT, stage
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.end_to_end.photos import ESPRESSO, coffee, encode
from tests.end_to_end.server import READY_S, run_server, write_config
from tests.end_to_end.versions import HANDLER, Edit, crash_on_load, write_version

pytestmark = pytest.mark.server


def read_metrics(metrics: httpx.Client) -> dict[str, float]:
    """Return the sum over all labels of each sample."""
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.get("/metrics").text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


@pytest.fixture
def patient_model(management: httpx.Client) -> Iterator[str]:
    """The same archive under another name, with one worker that waits one second for a batch of 4."""
    batch = {"batch_size": 4, "max_batch_delay": 1000, "initial_workers": 1, "synchronous": True}
    response = management.post("/models", params={"url": "fruity.mar", "model_name": "patient", **batch})
    assert response.status_code == 200, response.text
    yield "patient"
    management.delete("/models/patient")


def test_good_and_bad_photos_of_one_batch_get_their_own_answers(
    inference: httpx.Client, metrics: httpx.Client, patient_model: str
) -> None:
    bodies = [coffee(), b"not a photo", coffee()[:4000], encode(coffee(), "jpeg")]
    before = read_metrics(metrics).get("fruity_inference_seconds_count", 0)

    with ThreadPoolExecutor(4) as clients:
        path = f"/predictions/{patient_model}"
        responses = list(clients.map(lambda body: inference.post(path, content=body), bodies))

    assert [response.status_code for response in responses] == [200, 415, 422, 200]
    assert responses[0].json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    assert responses[3].json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    # One more inference for the two good photos: all four requests were one batch.
    assert read_metrics(metrics)["fruity_inference_seconds_count"] - before == 1


def test_a_photo_shows_in_the_metrics(inference: httpx.Client, metrics: httpx.Client) -> None:
    before = read_metrics(metrics)

    inference.post("/predictions/fruity", content=coffee())
    inference.post("/predictions/fruity", content=b"not a photo")

    after = read_metrics(metrics)
    expected = {
        "fruity_photos_total": 2,
        "fruity_labels_total": 1,
        "fruity_confidence_count": 1,
        "fruity_decode_seconds_count": 2,
        "ts_inference_requests_total": 2,
    }
    assert {name: after[name] - before.get(name, 0) for name in expected} == expected


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
    ("edits", "reason"),
    [(None, "archive"), ({HANDLER: crash_on_load}, "made to crash")],
    ids=["not a zip file", "a handler that raises"],
)
def test_an_archive_that_does_not_load_ends_the_wait_in_time_and_the_log_says_why(
    tmp_path: Path, edits: dict[str, Edit] | None, reason: str
) -> None:
    staged = stage(write_version(tmp_path / "bad", "1.1.0", edits), tmp_path / "model_store")
    if edits is None:
        staged.write_bytes(b"not a zip file")

    with (
        (tmp_path / "server.log").open("wb") as log,
        TorchServe(write_config(tmp_path), ROOT, DEFAULT_ARCHIVE, output=log.fileno()) as server,
        pytest.raises(TorchServeError, match="its log says why"),
    ):
        server.wait_until_ready(timeout_s=15)

    assert reason in (tmp_path / "server.log").read_text()


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
