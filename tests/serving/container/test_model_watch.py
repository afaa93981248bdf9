import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from model_archive.golden import read_golden
from model_archive.identity import ArchiveError
from serving.container import model_watch
from serving.container.archive_placement import STORE
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.health import Health
from serving.container.model_watch import watch_model
from serving.model_store import DEFAULT_ARCHIVES, newest_archive
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.http_server import Request, serve_http

GOLDEN = read_golden(newest_archive(DEFAULT_ARCHIVES))[0]


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
        workers = [
            {"id": f"{9000 + i}", "pid": i, "status": "READY" if i < ready else "UNLOADED", "startTime": "2026-11-26"}
            for i in range(2)
        ]
        model = {"modelVersion": version, "modelUrl": f"fruity-{version}.mar", "minWorkers": 2, "responseTimeout": 30}
        return 200, [model | {"workers": workers, "jobQueueStatus": {"pendingRequests": 0}}]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTorchServe]:
    fake = FakeTorchServe()
    monkeypatch.setattr(model_watch, "INTERVAL_S", 0)
    with serve_http(fake.answer) as fake.url:
        yield fake


class RecordingHealth(Health):
    """Records why the model was not ready after each check; after the server's last state a check is a bug."""

    def __init__(self, server: FakeTorchServe) -> None:
        super().__init__()
        self.server = server
        self.reasons: list[str] = []

    def check(self, ask: object) -> None:
        if not self.server.states:
            raise KeyError("no more states")
        super().check(ask)  # type: ignore[arg-type]
        self.reasons.append(self.unready_reason)
        self.server.states.pop(0)


def watch(server: FakeTorchServe, folder: Path) -> tuple[list[str], ContainerExit]:
    """Return why the model was not ready after each check, and how the watch ended."""
    health, ended = RecordingHealth(server), list[ContainerExit]()
    watch_model(cast(TorchServe, server), ContainerSettings(run_folder=folder), health, ended.append)
    [reason] = ended
    return health.reasons, reason


def store_archives(folder: Path, *versions: str) -> None:
    (folder / STORE).mkdir()
    for version in versions:
        (folder / STORE / f"fruity-{version}.mar").symlink_to(newest_archive(DEFAULT_ARCHIVES))


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
    store_archives(tmp_path, "1.0.0")
    server.states = [("1.0.0", 2), ("1.0.0", 1), ("1.0.0", 1), ("1.0.0", 2)]

    reasons, reason = watch(server, tmp_path)

    assert reasons == ["", *["1 of 2 workers are ready"] * 2, ""]
    assert (reason.code, "KeyError" in str(reason)) == (ExitCode.BUG, True)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert lines[0]["message"] == "fruity 1.0.0 answers at port 8080"
    assert [line["severity"] for line in lines] == ["NOTICE", "WARNING", "NOTICE"]


def test_a_new_default_version_is_checked_by_its_own_archive(server: FakeTorchServe, tmp_path: Path) -> None:
    store_archives(tmp_path, "1.0.0", "1.1.0")
    (tmp_path / STORE / "fruity-1.2.0.mar").write_text("damaged")
    server.states = [("1.0.0", 2), ("1.1.0", 2), ("1.2.0", 2), ("1.3.0", 2)]

    reasons, _ = watch(server, tmp_path)

    assert reasons[:2] == ["", ""]
    assert "1.2.0" in reasons[2]
    assert "1.3.0" in reasons[3]
