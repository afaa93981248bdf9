"""All processes of the container, without a container."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.endpoint import Photo
from benchmarks.load import run_in_background
from serving.container.exit_codes import ExitCode
from serving.model_store import ROOT
from tests.docs.document import OPENAPI_FILE
from tests.end_to_end.photos import ESPRESSO, coffee, encode
from tests.serving.container.running_container import RunningContainer, find_process, run_container
from tests.serving.container.running_proxy import PREDICT

KILLS = 5
PHOTO = Photo("coffee", encode(coffee(), "jpeg", side=256))


@pytest.fixture(scope="module")
def container(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningContainer]:
    with run_container(tmp_path_factory.mktemp("container")) as running:
        yield running


@pytest.mark.server
@pytest.mark.parametrize("path", ["/predictions/fruity", "/predictions/fruity/1.0.0", "/explanations/fruity"])
def test_a_photo_gets_its_label(container: RunningContainer, path: str) -> None:
    # What `curl --data-binary` sends.
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = httpx.post(f"{container.url}{path}", content=coffee(), headers=headers, timeout=60).json()

    assert answer["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.server
def test_every_line_of_the_log_is_json_with_a_severity_and_a_time(container: RunningContainer) -> None:
    httpx.post(f"{container.url}{PREDICT}", content=b"no photo")

    lines = container.lines()

    assert all({"time", "severity"} <= set(line) for line in lines)
    assert all("message" in line or "httpRequest" in line for line in lines)
    assert any(line.get("message") == f"fruity 1.0.0 answers at port {container.port}" for line in lines)


@pytest.mark.server
@pytest.mark.slow
def test_requests_made_from_the_document_get_the_answers_that_it_describes(
    container: RunningContainer, tmp_path: Path
) -> None:
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
        "response_schema_conformance,unsupported_method,allow_header_conformance,missing_required_header"
    )
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI_FILE), f"--url={container.url}", "--seed=1"]
    command += ["--phases=coverage,fuzzing", "--max-examples=10", "--continue-on-failure", f"--checks={checks}"]
    # This container takes no corrections.
    command += ["--exclude-path=/corrections", "--no-color"]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.serving.container.schema_hooks", "PYTHONPATH": str(ROOT)}

    environment = {**os.environ, **hooks}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.server
@pytest.mark.slow
def test_no_request_is_lost_when_workers_die_under_load(container: RunningContainer) -> None:
    killed: set[int] = set()

    def ready() -> list[int]:
        """Return the processes of the READY workers; TorchServe calls a killed one READY until it notices."""
        return [one["pid"] for one in container.workers() if one["status"] == "READY" and one["pid"] not in killed]

    with run_in_background(container.endpoint, [PHOTO], 8) as samples:
        for _ in range(KILLS):
            count = len(samples)
            container.wait_until(lambda: len(samples) > count + 16)  # noqa: B023, called in this round
            container.wait_until(lambda: len(ready()) == 2)
            killed.add(pid := ready()[0])
            os.kill(pid, signal.SIGKILL)

    assert {sample.error for sample in samples} == {""}


@pytest.mark.server
@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(nginx: None, tmp_path: Path) -> None:
    with run_container(tmp_path) as container, run_in_background(container.endpoint, [PHOTO], 8) as samples:
        container.wait_until(lambda: len(samples) > 50)
        container.process.send_signal(signal.SIGTERM)
        code = container.process.wait(timeout=60)

    assert code == ExitCode.STOPPED
    assert {sample.error for sample in samples} <= {"", "503", "ClientConnectorError"}
    assert not [line for line in container.lines() if "cut off" in line.get("message", "")]


@pytest.mark.server
@pytest.mark.parametrize(
    ("find", "exit_code", "reason"),
    [
        ("org.pytorch.serve.ModelServer", ExitCode.TORCHSERVE, "TorchServe ended unexpectedly with code 0"),
        ("nginx: master", ExitCode.PROXY, "nginx ended unexpectedly with code -9"),
    ],
)
def test_the_end_of_a_part_ends_the_container_with_the_reason(
    nginx: None, tmp_path: Path, find: str, exit_code: ExitCode, reason: str
) -> None:
    with run_container(tmp_path, LOG_URI=str(tmp_path / "moved")) as container:
        httpx.post(f"{container.url}{PREDICT}", content=coffee(), timeout=60).raise_for_status()
        os.kill(find_process(container.process.pid, find), signal.SIGKILL)
        code = container.process.wait(timeout=60)

    last = container.lines()[-1]
    assert code == last["exit_code"] == exit_code
    assert last["message"].startswith(reason)
    # The prediction log was not moved when a part ended.
    (moved,) = (tmp_path / "moved").iterdir()
    assert [json.loads(line)["labels"][0][0] for line in moved.read_text().splitlines()] == [ESPRESSO]
    with pytest.raises(httpx.ConnectError):
        httpx.get(container.url)


@pytest.mark.server
def test_a_model_that_is_not_ready_in_time_ends_the_container(nginx: None, tmp_path: Path) -> None:
    with run_container(tmp_path, wait=False, START_TIMEOUT_S="1") as container:
        code = container.process.wait(timeout=120)

    assert code == ExitCode.MODEL
    assert "1 s" in container.lines()[-1]["message"]


def test_an_invalid_setting_ends_the_container_in_one_line(tmp_path: Path) -> None:
    with run_container(tmp_path, wait=False, MODEL_URI="s3://bucket/1.0.0") as container:
        assert container.process.wait(timeout=60) == ExitCode.ARCHIVE

    [line] = container.lines()
    assert "s3://bucket/1.0.0" in line["message"]
    assert (line["severity"], line["exit_code"]) == ("CRITICAL", ExitCode.ARCHIVE)


@pytest.mark.server
def test_the_prediction_log_is_moved_at_the_end_without_probes_and_with_the_request_ids(
    nginx: None, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    with run_container(tmp_path, LOG_URI=str(moved)) as container:
        # A client cannot keep its request out of the log.
        for request_id, headers in (("first", {}), ("second", {"X-Probe": "readiness"})):
            given = {"X-Request-Id": request_id, **headers}
            httpx.post(f"{container.url}{PREDICT}", content=coffee(), headers=given, timeout=60).raise_for_status()
        # The golden sample was asked when it started and is asked every 5 s.
        container.process.send_signal(signal.SIGTERM)
        code = container.process.wait(timeout=60)

    lines = [json.loads(line) for path in moved.iterdir() for line in path.read_text().splitlines()]
    assert code == ExitCode.STOPPED
    assert sorted(line["id"] for line in lines) == ["first/0", "second/0"]
    assert [line["labels"][0][0] for line in lines] == [ESPRESSO, ESPRESSO]
    assert not list((tmp_path / "run" / "predictions").iterdir())
