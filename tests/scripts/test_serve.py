import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest

from model_archive.signature import create_keys
from scripts import serve
from serving.management import ManagementError
from serving.rollout.record import Record, Underway, read_record, write_record
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.scripts.damages import write_damaged


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


def test_an_unsigned_archive_is_refused_before_anything_is_read_of_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, public_key = create_keys(place)
    monkeypatch.setattr(sys, "argv", ["serve", "--public-key", str(public_key)])
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)

    with pytest.raises(SystemExit, match=r"^serve: fruity-1\.2\.3\.mar is refused, a signature is required"):
        serve.main()

    assert list((place / "store").iterdir()) == []


def test_an_archive_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", "nowhere.mar"])

    with pytest.raises(SystemExit, match=r"^serve: .*No such file or directory: 'nowhere\.mar'$"):
        serve.main()


def test_an_archive_that_is_damaged_is_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(TorchServe):
        """Waits as the real one does, without a process."""

        __enter__ = FakeServer.__enter__
        __exit__ = FakeServer.__exit__

    archive = write_damaged(place / "fruity-1.0.0.mar", "golden.json")
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", str(archive)])
    monkeypatch.setattr(serve, "TorchServe", Started)

    with pytest.raises(SystemExit, match=r"^serve: fruity\.mar is not an archive \(Error -3 while decompressing"):
        serve.main()


def test_what_was_promoted_is_served_and_not_the_newest(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(place / "store", "1.0.0")
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)

    serve.main()

    said = capsys.readouterr().out
    assert f"serve: 1.0.0 was promoted last; the newest is {place / 'build' / 'fruity-1.2.3.mar'}, `make roll" in said
    assert (place / "store" / "fruity.mar").read_bytes() == b"promoted"


def test_an_archive_that_is_named_is_served_and_the_promotion_forgotten(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(place / "store", "1.0.0")
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", str(place / "build" / "fruity-1.2.3.mar")])

    serve.main()

    assert (place / "store" / "fruity.mar").read_bytes() == b"archive"
    assert read_record(place / "store") == Record()


def test_a_rollout_that_was_killed_is_told_once_and_not_resumed(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(place / "store", "1.2.3", underway=Underway("1.3.0", 7, "2026-06-06"))
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)

    serve.main()
    first = capsys.readouterr().out
    serve.main()
    second = capsys.readouterr().out

    assert "A rollout to 1.3.0 was killed half-done (process 7, since 2026-06-06); it is not resumed" in first
    assert "serve: 1.2.3 was promoted last\n" in first
    assert "1.3.0" not in second


def test_a_kept_version_that_cannot_be_registered_again_does_not_keep_from_serving(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(config: Path, root: Path) -> None:
        raise ManagementError("no such file")

    promote(place / "store", "1.2.3", kept=("1.0.0",))
    monkeypatch.setattr(serve, "open_server", refuse)
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)

    serve.main()

    assert "serve: 1.0.0 was kept beside it, and is not any more: no such file" in capsys.readouterr().out


def promote(store: Path, version: str, **record: Any) -> None:
    """Leave *store* as a promotion of *version* does."""
    store.mkdir()
    (store / "fruity.mar").write_bytes(b"promoted")
    write_record(store, Record(default=version, **record))
