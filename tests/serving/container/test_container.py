"""The whole of what runs in the container, without a container."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from serving.container.exits import Exit
from tests.end_to_end.photos import ESPRESSO, coffee, encode
from tests.serving.container.containers import Container, Load, run_container
from tests.serving.container.problems import PREDICT

KILLS = 5


@pytest.fixture(scope="module")
def container(nginx: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    with run_container(tmp_path_factory.mktemp("container")) as running:
        yield running


@pytest.mark.server
@pytest.mark.parametrize("path", ["/predictions/fruity", "/predictions/fruity/1.0.0", "/explanations/fruity"])
def test_a_photo_gets_its_label_through_the_front(container: Container, path: str) -> None:
    answer = httpx.post(f"{container.url}{path}", content=coffee(), timeout=60).json()

    assert answer["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.server
def test_what_curl_labels_as_a_form_is_a_photo_behind_the_front(container: Container) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = httpx.post(f"{container.url}{PREDICT}", content=coffee(), headers=headers, timeout=60).json()

    assert answer["predictions"][0]["labels"][0]["label"] == ESPRESSO


@pytest.mark.server
def test_a_version_that_is_not_there_is_a_problem(container: Container) -> None:
    response = httpx.post(f"{container.url}{PREDICT}/9.9.9", content=coffee(), timeout=60)

    assert (response.status_code, response.json()["type"]) == (404, "urn:fruity:not-found")


@pytest.mark.server
def test_every_line_of_the_log_is_json_with_a_severity_and_a_time(container: Container) -> None:
    httpx.post(f"{container.url}{PREDICT}", content=b"no photo")

    lines = container.lines()

    assert all({"time", "severity", "message"} <= set(line) for line in lines)
    assert any(line["message"] == f"fruity 1.0.0 answers at port {container.port}" for line in lines)


@pytest.mark.server
@pytest.mark.slow
def test_no_request_is_lost_when_workers_die_under_load(container: Container) -> None:
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
def test_sigterm_under_load_loses_nothing_that_was_accepted(nginx: None, tmp_path: Path) -> None:
    photo = encode(coffee(), "jpeg", side=256)
    with run_container(tmp_path) as container, Load(container.url, photo).running() as load:
        container.wait_until(lambda: len(load.answers) > 50)
        container.process.send_signal(signal.SIGTERM)
        code = container.process.wait(timeout=60)

    assert code == Exit.STOPPED
    assert set(load.answers) <= {200, 503}
    assert not [line for line in container.lines() if "cut off" in line["message"]]


@pytest.mark.server
@pytest.mark.parametrize(
    ("find", "exit_code", "reason"),
    [
        ("org.pytorch.serve.ModelServer", Exit.TORCHSERVE, "TorchServe ended by itself with code 0"),
        ("nginx: master", Exit.FRONT, "nginx ended by itself with code -9"),
    ],
)
def test_the_death_of_a_part_ends_the_container_with_the_reason(
    nginx: None, tmp_path: Path, find: str, exit_code: Exit, reason: str
) -> None:
    with run_container(tmp_path) as container:
        os.kill(find_process(container.process.pid, find), signal.SIGKILL)
        code = container.process.wait(timeout=60)

    assert code == exit_code
    assert container.lines()[-1]["message"].startswith(reason)
    assert container.lines()[-1]["exit_code"] == exit_code
    with pytest.raises(httpx.ConnectError):
        httpx.get(container.url)


def find_process(ancestor: int, words: str) -> int:
    """Return the process under *ancestor* whose command line has *words*; never 0, which would be all of ours."""
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
    """Return what /proc says of *process*, nothing if it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/{name}").read_text()
    return ""


def test_a_process_that_is_not_there_is_told_and_never_0() -> None:
    with pytest.raises(AssertionError, match=r"no process under \d+ has 'no such words'"):
        find_process(os.getpid(), "no such words")


@pytest.mark.server
def test_a_model_that_does_not_load_ends_the_container(nginx: None, tmp_path: Path) -> None:
    with run_container(tmp_path, wait=False, START_TIMEOUT_S="1") as container:
        code = container.process.wait(timeout=120)

    assert code == Exit.MODEL
    assert "does not answer after 1 s" in container.lines()[-1]["message"]


@pytest.mark.parametrize(
    ("environment", "exit_code", "words"),
    [
        ({"PORT": "http"}, Exit.SETTING, "PORT is 'http'"),
        ({"PORT": "0"}, Exit.SETTING, "from 1 to 65535"),
        ({"MODEL_URI": "s3://bucket/1.0.0"}, Exit.ARCHIVE, "MODEL_URI is 's3://bucket/1.0.0'"),
        ({"API_KEYS": "/nowhere"}, Exit.KEYS, "API_KEYS is /nowhere, which cannot be read"),
        ({"RUN_FOLDER": "/proc/fruity"}, Exit.SPACE, "/proc/fruity cannot be written to"),
    ],
)
def test_bad_settings_end_the_container_in_one_line_before_anything_starts(
    tmp_path: Path, environment: dict[str, str], exit_code: Exit, words: str
) -> None:
    with run_container(tmp_path, wait=False, **environment) as container:
        code = container.process.wait(timeout=60)

    [line] = container.lines()
    assert code == exit_code
    assert words in line["message"]
    assert (line["severity"], line["exit_code"]) == ("CRITICAL", exit_code)
