"""All processes of the container, without a container."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.container.exit_codes import ExitCode
from tests.end_to_end.photos import ESPRESSO, coffee, encode
from tests.serving.container.running_container import Load, RunningContainer, run_container
from tests.serving.container.running_proxy import PREDICT

KILLS = 5


@pytest.fixture(scope="module")
def container(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningContainer]:
    with run_container(tmp_path_factory.mktemp("container")) as running:
        yield running


@pytest.mark.server
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/predictions/fruity", {}),
        ("/predictions/fruity/1.0.0", {}),
        ("/explanations/fruity", {}),
        # What `curl --data-binary` sends.
        ("/predictions/fruity", {"Content-Type": "application/x-www-form-urlencoded"}),
    ],
)
def test_a_photo_gets_its_label(container: RunningContainer, path: str, headers: dict[str, str]) -> None:
    answer = httpx.post(f"{container.url}{path}", content=coffee(), headers=headers, timeout=60).json()

    assert answer["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.server
def test_an_unknown_version_is_a_problem(container: RunningContainer) -> None:
    response = httpx.post(f"{container.url}{PREDICT}/9.9.9", content=coffee(), timeout=60)

    assert (response.status_code, response.json()["type"]) == (404, "urn:fruity:not-found")


@pytest.mark.server
def test_every_line_of_the_log_is_json_with_a_severity_and_a_time(container: RunningContainer) -> None:
    httpx.post(f"{container.url}{PREDICT}", content=b"no photo")

    lines = container.lines()

    assert all({"time", "severity", "message"} <= set(line) for line in lines)
    assert any(line["message"] == f"fruity 1.0.0 answers at port {container.port}" for line in lines)


@pytest.mark.server
@pytest.mark.slow
def test_no_request_is_lost_when_workers_die_under_load(container: RunningContainer) -> None:
    photo = encode(coffee(), "jpeg", side=256)
    with Load(container.url, photo).running() as load:
        for _ in range(KILLS):
            count = len(load.answers)
            container.wait_until(lambda: len(load.answers) > count + 16)  # noqa: B023, called in this round
            container.wait_until(lambda: [worker["status"] for worker in container.workers()] == ["READY"] * 2)
            os.kill(container.workers()[0]["pid"], signal.SIGKILL)

    assert set(load.answers) == {200}


@pytest.mark.server
@pytest.mark.slow
def test_sigterm_under_load_loses_no_accepted_request(nginx: None, tmp_path: Path) -> None:
    photo = encode(coffee(), "jpeg", side=256)
    with run_container(tmp_path) as container, Load(container.url, photo).running() as load:
        container.wait_until(lambda: len(load.answers) > 50)
        container.process.send_signal(signal.SIGTERM)
        code = container.process.wait(timeout=60)

    assert code == ExitCode.STOPPED
    assert set(load.answers) <= {200, 503}
    assert not [line for line in container.lines() if "cut off" in line["message"]]


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
    with run_container(tmp_path) as container:
        os.kill(find_process(container.process.pid, find), signal.SIGKILL)
        code = container.process.wait(timeout=60)

    last = container.lines()[-1]
    assert code == last["exit_code"] == exit_code
    assert last["message"].startswith(reason)
    with pytest.raises(httpx.ConnectError):
        httpx.get(container.url)


def find_process(ancestor: int, words: str) -> int:
    """Return the process under *ancestor* whose command line has *words*; never 0, which would signal our own group."""
    for process in list_descendants(ancestor):
        if words in read_process(process, "cmdline").replace("\0", " "):
            return process
    raise AssertionError(f"no process under {ancestor} has {words!r} in its command line")


def list_descendants(ancestor: int) -> Iterator[int]:
    for task in Path(f"/proc/{ancestor}/task").glob("*"):
        for child in map(int, read_process(ancestor, f"task/{task.name}/children").split()):
            yield child
            yield from list_descendants(child)


def read_process(process: int, name: str) -> str:
    """Return the file *name* of /proc for *process*, empty if the process has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/{name}").read_text()
    return ""


@pytest.mark.server
def test_a_model_that_is_not_ready_in_time_ends_the_container(nginx: None, tmp_path: Path) -> None:
    with run_container(tmp_path, wait=False, START_TIMEOUT_S="1") as container:
        code = container.process.wait(timeout=120)

    assert code == ExitCode.MODEL
    assert "1 s" in container.lines()[-1]["message"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("PORT", "http", ExitCode.SETTING),
        ("MODEL_URI", "s3://bucket/1.0.0", ExitCode.ARCHIVE),
        ("API_KEYS", "/nowhere", ExitCode.KEYS),
        ("RUN_FOLDER", "/proc/fruity", ExitCode.SPACE),
    ],
)
def test_an_invalid_setting_ends_the_container_in_one_line(
    tmp_path: Path, name: str, value: str, code: ExitCode
) -> None:
    with run_container(tmp_path, wait=False, **{name: value}) as container:
        assert container.process.wait(timeout=60) == code

    [line] = container.lines()
    assert value in line["message"]
    assert (line["severity"], line["exit_code"]) == ("CRITICAL", code)
