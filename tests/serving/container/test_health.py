import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httpx
import pytest

from model_archive.golden import read_golden
from model_archive.identity import ArchiveError
from serving.container import health as health_module
from serving.container.archive_placement import STORE
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.health import Health, serve_health, watch_model
from serving.model_store import DEFAULT_ARCHIVE
from serving.readiness import Busy, NotReady
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.http_server import Request, serve_http

GOLDEN = read_golden(DEFAULT_ARCHIVE)[0]
TWO = {"1.0.0/9000": 11, "1.0.0/9001": 12}


class Watched:
    """A model that has answered once, and a clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.health = Health()
        self.health.clock = lambda: self.now_s
        assert self.check(TWO) == ""

    def check(self, answer: dict[str, int] | NotReady, *, after_s: float = 5) -> str:
        """Let the model answer with its workers or not at all; return why it is not ready."""

        def ask() -> dict[str, int]:
            if isinstance(answer, NotReady):
                raise answer
            return answer

        self.now_s += after_s
        self.health.check(ask)
        return self.health.unready_reason


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_before_the_first_answer_it_is_neither_ready_nor_stuck() -> None:
    assert Health().unready_reason
    assert not Health().stuck_reason


def test_a_failure_makes_it_unready_and_an_answer_makes_it_ready(watched: Watched) -> None:
    assert watched.check(NotReady("1 of 2 workers are ready")) == "1 of 2 workers are ready"
    assert watched.check(TWO) == ""


def test_a_full_queue_keeps_readiness_and_counts_as_an_answer(watched: Watched) -> None:
    assert watched.check(Busy("503"), after_s=1000) == ""
    assert watched.health.stuck_reason == ""


def test_a_minute_of_failed_checks_is_stuck(watched: Watched) -> None:
    for _ in range(3):
        watched.check(NotReady("timed out"), after_s=20)
        assert watched.health.stuck_reason == ""
    watched.check(NotReady("timed out"), after_s=1)
    assert "61 s" in watched.health.stuck_reason
    watched.check(TWO)
    assert watched.health.stuck_reason == ""


def test_a_container_that_was_frozen_for_an_hour_is_not_stuck(watched: Watched) -> None:
    watched.check(NotReady("timed out"), after_s=3600)
    assert watched.health.stuck_reason == ""


def test_three_deaths_of_workers_within_a_minute_make_it_unready(watched: Watched) -> None:
    last = {"1.0.0/9000": 31, "1.0.0/9001": 22}

    assert watched.check(TWO | {"1.0.0/9000": 21}) == ""
    assert watched.check(last) == "3 workers died within 60 s"
    assert watched.check(last, after_s=50) != ""
    assert watched.check(last, after_s=11) == ""


def test_a_new_version_or_another_number_of_workers_is_not_a_death(watched: Watched) -> None:
    for number in range(5):
        assert watched.check({f"2.0.{number}/9000": number}) == ""
        assert watched.check({f"2.0.{number}/9000": number, "more": number}) == ""


@pytest.mark.parametrize("answer", [TWO, NotReady("gone")])
def test_a_stopping_container_stays_unready(watched: Watched, answer: dict[str, int] | NotReady) -> None:
    watched.health.stop()

    assert watched.check(answer) == "the container is stopping"


def test_the_pages_give_the_reason_as_a_problem(watched: Watched, tmp_path: Path) -> None:
    # What a container that was killed leaves behind.
    (tmp_path / "health.sock").touch()
    transport = httpx.HTTPTransport(uds=str(tmp_path / "health.sock"))
    with serve_health(watched.health, tmp_path), httpx.Client(transport=transport, base_url="http://pages") as pages:
        ready = [pages.get(path) for path in ("/readyz", "/healthz")]
        head = pages.head("/readyz")
        for _ in range(3):
            watched.check(NotReady("1 of 2 workers are ready"), after_s=200)
        unready, stuck, unknown = (pages.get(path) for path in ("/readyz", "/healthz", "/else"))

    assert [(page.status_code, page.json()) for page in ready] == [(200, {"status": "ok"})] * 2
    assert (ready[0].headers["cache-control"], head.content) == ("no-store", b"")
    assert (unready.status_code, stuck.status_code, unknown.status_code) == (503, 503, 404)
    assert unready.headers["content-type"] == "application/problem+json"
    assert unready.json()["detail"] == "1 of 2 workers are ready"
    assert "600 s" in stuck.json()["detail"]
    assert not (tmp_path / "health.sock").exists()


@dataclass
class FakeTorchServe:
    """Ready in time or not; then, check by check, each of `states`: a version and its number of READY workers."""

    error: Exception | None = None
    states: list[tuple[str, int]] = field(default_factory=list)
    url: str = "http://127.0.0.1:1"

    @property
    def addresses(self) -> Addresses:
        return Addresses(self.url, self.url, self.url)

    def wait_until_ready(self, timeout_s: float) -> str:
        if self.error:
            raise self.error
        return "1.0.0"

    def answer(self, request: Request) -> tuple[int, object]:
        if request.method == "POST":
            labels = [{"label": GOLDEN.label, "probability": 0.9}]
            return 200, {"predictions": [{"photo": "body", "labels": labels, "confident": True}]}
        version, ready = self.states[0]
        statuses = ["READY"] * ready + ["UNLOADED"] * (2 - ready)
        workers = [{"id": f"{n}", "pid": n, "status": s, "startTime": "2026-11-26"} for n, s in enumerate(statuses)]
        model = {"modelVersion": version, "modelUrl": f"fruity-{version}.mar", "minWorkers": 2, "responseTimeout": 30}
        return 200, [model | {"workers": workers, "jobQueueStatus": {"pendingRequests": 0}}]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTorchServe]:
    fake = FakeTorchServe()
    monkeypatch.setattr(health_module, "INTERVAL_S", 0)
    with serve_http(fake.answer) as fake.url:
        yield fake


class RecordingHealth(Health):
    """Records why the model was not ready after each check, one every 30 s; after the last state a check is a bug."""

    def __init__(self, server: FakeTorchServe) -> None:
        super().__init__()
        self.server = server
        self.reasons: list[str] = []
        self.clock = lambda: 30.0 * len(self.reasons)

    def check(self, ask: object) -> None:
        if not self.server.states:
            raise KeyError("no more states")
        super().check(ask)  # type: ignore[arg-type]
        self.reasons.append(self.unready_reason)
        self.server.states.pop(0)


def watch(server: FakeTorchServe, folder: Path, *versions: str) -> tuple[list[str], ContainerExit]:
    """Return why the model was not ready after each check, and how the watch ended; *versions* are in the store."""
    (folder / STORE).mkdir(exist_ok=True)
    for version in versions:
        (folder / STORE / f"fruity-{version}.mar").symlink_to(DEFAULT_ARCHIVE)
    health, ended = RecordingHealth(server), list[ContainerExit]()
    watch_model(cast(TorchServe, server), ContainerSettings(run_folder=folder), health, ended.append)
    [reason] = ended
    return health.reasons, reason


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TorchServeError("does not answer after 9 s"), ExitCode.MODEL),
        (ArchiveError("damaged"), ExitCode.ARCHIVE),
        (FileNotFoundError("gone"), ExitCode.ARCHIVE),
        (KeyError("a bug"), ExitCode.BUG),
    ],
)
def test_a_model_that_is_not_ready_in_time_ends_the_container(tmp_path: Path, error: Exception, code: ExitCode) -> None:
    _, reason = watch(FakeTorchServe(error), tmp_path)

    assert reason.code == code
    assert str(error) in str(reason)


def test_each_change_of_readiness_is_logged_and_a_bug_ends_the_container(
    server: FakeTorchServe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.states = [("1.0.0", 2), ("1.0.0", 1), ("1.0.0", 1), ("1.0.0", 2)]

    reasons, reason = watch(server, tmp_path, "1.0.0")

    assert reasons == ["", *["1 of 2 workers are ready"] * 2, ""]
    assert (reason.code, "KeyError" in str(reason)) == (ExitCode.BUG, True)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[0]["message"] == "fruity 1.0.0 answers at port 8080"
    assert [line["severity"] for line in lines] == ["NOTICE", "WARNING", "NOTICE"]


def test_a_new_default_version_is_checked_by_its_own_archive(server: FakeTorchServe, tmp_path: Path) -> None:
    (tmp_path / STORE).mkdir()
    (tmp_path / STORE / "fruity-1.2.0.mar").write_text("damaged")
    server.states = [("1.0.0", 2), ("1.1.0", 2), ("1.2.0", 2), ("1.3.0", 2)]

    reasons, _ = watch(server, tmp_path, "1.0.0", "1.1.0")

    assert reasons[:2] == ["", ""]
    assert "1.2.0" in reasons[2]
    assert "1.3.0" in reasons[3]


def test_a_model_that_is_stuck_ends_the_container(server: FakeTorchServe, tmp_path: Path) -> None:
    server.states = [("1.0.0", 2), *[("1.0.0", 0)] * 9]

    reasons, reason = watch(server, tmp_path, "1.0.0")

    assert reasons == ["", *["0 of 2 workers are ready"] * 3]
    assert (reason.code, "has not answered" in str(reason)) == (ExitCode.TORCHSERVE, True)
