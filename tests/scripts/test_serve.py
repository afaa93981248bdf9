import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest

from scripts import serve
from scripts.torchserve import Addresses, TorchServeError


class FakeServer:
    """Is ready at once and then does what a test says while it is waited for."""

    addresses = Addresses("http://127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.1:8082")
    stopped: ClassVar[bool]

    def __init__(self, config: Path, root: Path, archive: Path) -> None:
        self.archive = archive
        FakeServer.stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        FakeServer.stopped = True

    def wait_until_ready(self, timeout_s: float) -> str:
        return "1.2.3"

    def wait(self) -> None:
        """End by itself."""


class TerminatedServer(FakeServer):
    def wait(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


class PortlessServer(FakeServer):
    def __enter__(self) -> Self:
        raise TorchServeError("port 8080 is taken")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one archive to serve; the handler of SIGTERM is put back."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "fruity-1.2.3.mar").write_bytes(b"archive")
    monkeypatch.setattr(serve, "BUILD", tmp_path / "build")
    monkeypatch.setattr(serve, "DEFAULT_ARCHIVES", tmp_path / "default")
    monkeypatch.setattr(serve, "STORE", tmp_path / "store")
    monkeypatch.setattr(sys, "argv", ["serve"])
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def test_a_ready_server_is_announced_with_its_url_and_a_command_and_sigterm_stops_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)

    serve.main()

    announced, command, *_, last = [line for line in capsys.readouterr().out.splitlines() if line]
    assert announced.startswith("fruity 1.2.3 answers after 0.")
    assert announced.endswith(" s at http://127.0.0.1:8080/predictions/fruity")
    assert command.strip() == "curl -T photo.jpg http://127.0.0.1:8080/predictions/fruity"
    assert last == "serve: stopped"
    assert FakeServer.stopped
    assert (place / "store" / "fruity.mar").read_bytes() == b"archive"


def test_a_server_that_ends_by_itself_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "TorchServe", FakeServer)

    with pytest.raises(SystemExit, match="serve: TorchServe has ended by itself; its log above says why"):
        serve.main()


def test_a_server_that_cannot_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "TorchServe", PortlessServer)

    with pytest.raises(SystemExit, match=r"^serve: port 8080 is taken$"):
        serve.main()


def test_nothing_to_serve_is_one_sentence(place: Path) -> None:
    (place / "build" / "fruity-1.2.3.mar").unlink()

    with pytest.raises(SystemExit, match=r"^serve: no fruity-<version>\.mar in .*; run make archive$"):
        serve.main()


def test_an_archive_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", "nowhere.mar"])

    with pytest.raises(SystemExit, match=r"^serve: .*No such file or directory: 'nowhere\.mar'$"):
        serve.main()
