from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from model_archive.golden import GoldenPhoto
from model_archive.identity import ArchiveError
from serving.container import watch
from serving.container.exits import Ending, Exit
from serving.container.health import Health
from serving.container.settings import Settings
from serving.container.watch import watch_model
from serving.readiness import DefaultVersion, NotReady
from serving.torchserve import Addresses, TorchServe, TorchServeError


class Over(BaseException):
    """Ends the watch, which otherwise never ends."""


@dataclass
class FakeServer:
    """Answers in time or never; then its default version is each of `seen`."""

    error: Exception | None = None
    addresses: Addresses = field(
        default_factory=lambda: Addresses("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
    )
    seen: deque[str | BaseException] = field(default_factory=deque)

    def wait_until_ready(self, timeout_s: float) -> str:
        if self.error:
            raise self.error
        return "1.0.0"

    def read_default(self, *_: object) -> DefaultVersion:
        seen = self.seen.popleft()
        if isinstance(seen, BaseException):
            raise seen
        return DefaultVersion(seen, f"fruity-{seen}.mar", {f"{seen}/9000": 1})


@dataclass
class Watching:
    """A watch of `server`, and what came of it."""

    server: FakeServer
    health: Health = field(default_factory=Health)
    endings: list[Ending] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    unreadable: Exception | None = None

    def run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "INTERVAL_S", 0)
        monkeypatch.setattr(watch, "read_default", self.server.read_default)
        monkeypatch.setattr(watch, "read_golden", self.read_golden)
        monkeypatch.setattr(watch, "check_ready", lambda *_: "")
        watch._read_surest.cache_clear()
        watch_model(cast(TorchServe, self.server), Settings(folder=Path("/run")), self.health, self.endings.append)

    def read_golden(self, archive: Path) -> list[GoldenPhoto]:
        self.read.append(archive.name)
        if self.unreadable:
            raise self.unreadable
        return []


@pytest.mark.parametrize(
    ("error", "exit_code", "reason"),
    [
        (TorchServeError("does not answer after 9 s"), Exit.MODEL, "does not answer after 9 s"),
        (ArchiveError("damaged"), Exit.ARCHIVE, "the archive cannot be read: damaged"),
        (FileNotFoundError("gone"), Exit.ARCHIVE, "the archive cannot be read: gone"),
        (KeyError("a bug"), Exit.BUG, "KeyError: 'a bug'"),
    ],
)
def test_a_model_that_does_not_answer_in_time_is_the_end(
    monkeypatch: pytest.MonkeyPatch, error: Exception, exit_code: Exit, reason: str
) -> None:
    watching = Watching(FakeServer(error))

    watching.run(monkeypatch)

    [ending] = watching.endings
    assert (ending.exit_code, str(ending).splitlines()[-1]) == (exit_code, reason)


def test_a_bug_in_a_later_look_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(FakeServer(seen=deque(["1.0.0", KeyError("workers")])))

    watching.run(monkeypatch)

    [ending] = watching.endings
    assert (ending.exit_code, str(ending).splitlines()[-1]) == (Exit.BUG, "KeyError: 'workers'")


@pytest.mark.parametrize("error", [ArchiveError("damaged"), FileNotFoundError("gone")])
def test_an_archive_that_cannot_be_read_later_is_not_ready(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    watching = Watching(FakeServer(seen=deque(["1.0.0", Over()])), unreadable=error)

    with pytest.raises(Over):
        watching.run(monkeypatch)

    assert watching.health.unready_reason == f"the canned photo of 1.0.0 cannot be read: {error}"
    assert watching.endings == []


def test_what_is_seen_is_told_and_each_change_is_logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    watching = Watching(FakeServer(seen=deque(["1.0.0", NotReady("1 of 2 workers are ready"), "1.0.0", Over()])))

    with pytest.raises(Over):
        watching.run(monkeypatch)

    assert watching.health.unready_reason == ""
    messages = capfd.readouterr().out
    assert messages.index("fruity 1.0.0 answers at port 8080") < messages.index("ready: 1 of 2 workers are ready")
    assert messages.count("ready: again") == 1


def test_each_version_is_asked_its_own_canned_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = Watching(FakeServer(seen=deque(["1.0.0", "1.0.0", "1.1.0", "1.0.0", Over()])))

    with pytest.raises(Over):
        watching.run(monkeypatch)

    assert watching.read == ["fruity-1.0.0.mar", "fruity-1.1.0.mar"]
