import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from model_archive.signature import create_keys
from scripts import serve
from serving.model_store import BUILD
from serving.rollout.record import Record, Underway, read_record, write_record
from serving.torchserve import Addresses, TorchServe, TorchServeError
from tests.scripts.damages import write_damaged
from tests.scripts.programs import kept_signals


class FakeServer:
    """Is ready at once and ends by itself; nothing listens at its management address."""

    addresses = Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9", "http://127.0.0.1:9")
    stopped: ClassVar[bool]

    environment: ClassVar[Mapping[str, str]]

    def __init__(self, *_: object, environment: Mapping[str, str]) -> None:
        FakeServer.stopped, FakeServer.environment = False, environment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        FakeServer.stopped = True

    def wait_until_ready(self, timeout_s: float) -> str:
        return "1.2.3"

    def wait(self) -> None:
        """Return at once: the process has ended."""


class TerminatedServer(FakeServer):
    def wait(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


class PortlessServer(FakeServer):
    def __enter__(self) -> Self:
        raise TorchServeError("port 8080 is taken")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one archive to serve, and a server that SIGTERM stops; signal handlers are restored."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "fruity-1.2.3.mar").write_bytes(b"archive")
    monkeypatch.setattr("serving.model_store.BUILD", tmp_path / "build")
    monkeypatch.setattr("serving.model_store.DEFAULT_ARCHIVES", tmp_path / "default")
    monkeypatch.setattr(serve, "STORE", tmp_path / "store")
    monkeypatch.setattr(serve, "TorchServe", TerminatedServer)
    monkeypatch.setattr(sys, "argv", ["serve"])
    with kept_signals():
        yield tmp_path


def test_a_ready_server_is_announced_with_its_url_and_a_command_and_sigterm_stops_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve.main()

    announced, command, *_, last = [line for line in capsys.readouterr().out.splitlines() if line]
    assert announced.startswith("fruity 1.2.3 answers after 0.")
    assert announced.endswith(" s at http://127.0.0.1:8080/predictions/fruity")
    assert command.strip() == "curl -T photo.jpg http://127.0.0.1:8080/predictions/fruity"
    assert last == "serve: stopped"
    assert FakeServer.stopped
    assert (place / "store" / "fruity.mar").read_bytes() == b"archive"


@pytest.mark.parametrize(("given", "logged"), [(None, str(BUILD / "predictions")), ("/logs", "/logs"), ("", "")])
def test_predictions_are_logged_in_build_unless_another_folder_or_none_is_set(
    monkeypatch: pytest.MonkeyPatch, given: str | None, logged: str
) -> None:
    monkeypatch.delenv("PREDICTION_LOG", raising=False)
    if given is not None:
        monkeypatch.setenv("PREDICTION_LOG", given)

    serve.main()

    assert FakeServer.environment == {"PREDICTION_LOG": logged}


def test_a_setting_of_the_log_that_is_invalid_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREDICTION_LOG_SHARE", "110")

    with pytest.raises(SystemExit, match=r"^serve: PREDICTION_LOG_SHARE is '110', it must be a number from 0 to 1$"):
        serve.main()


@pytest.mark.parametrize(("server", "reason"), [(FakeServer, "ended by itself"), (PortlessServer, "port 8080")])
def test_a_server_that_cannot_start_or_ends_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, server: type[FakeServer], reason: str
) -> None:
    monkeypatch.setattr(serve, "TorchServe", server)

    with pytest.raises(SystemExit, match=f"^serve: .*{reason}"):
        serve.main()


@pytest.mark.parametrize("promoted", [None, "1.2.3"])
def test_an_unsigned_archive_is_refused_before_anything_is_read_of_it(
    place: Path, monkeypatch: pytest.MonkeyPatch, promoted: str | None
) -> None:
    if promoted:
        promote(place / "store", promoted)
    monkeypatch.setattr(sys, "argv", ["serve", "--public-key", str(create_keys(place)[1])])

    with pytest.raises(SystemExit, match=r"^serve: fruity-1\.2\.3\.mar .*signature"):
        serve.main()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [([], "make archive"), (["--archive", "nowhere.mar"], r"nowhere\.mar"), (["--archive", "damaged"], "Error -3")],
)
def test_an_archive_that_is_missing_or_damaged_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    class Started(TorchServe):
        """Waits as the real one does, without a process."""

        __enter__ = FakeServer.__enter__
        __exit__ = FakeServer.__exit__

    (place / "build" / "fruity-1.2.3.mar").unlink()
    write_damaged(place / "damaged", "golden.json")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["serve", *arguments])
    monkeypatch.setattr(serve, "TorchServe", Started)

    with pytest.raises(SystemExit, match=f"^serve: .*{reason}"):
        serve.main()


@pytest.mark.parametrize(("promoted", "served"), [(None, b"archive"), ("1.0.0", b"promoted")])
def test_the_model_store_is_filled_for_a_plain_torchserve(
    place: Path, monkeypatch: pytest.MonkeyPatch, promoted: str | None, served: bytes
) -> None:
    """What was promoted stays what is served: `make setup` replaced it by the newest."""
    if promoted:
        promote(place / "store", promoted)
    monkeypatch.setattr(sys, "argv", ["serve", "--stage-only"])

    serve.main()

    assert (place / "store" / "fruity.mar").read_bytes() == served


def test_the_promoted_version_is_served_rather_than_the_newest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(place / "store", "1.0.0")

    serve.main()

    newest = place / "build" / "fruity-1.2.3.mar"
    assert f"serve: 1.0.0 was promoted last; the newest is {newest}, `make rollout`" in capsys.readouterr().out
    assert (place / "store" / "fruity.mar").read_bytes() == b"promoted"


def test_a_named_archive_is_served_and_the_promotion_is_forgotten(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(place / "store", "1.0.0")
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", str(place / "build" / "fruity-1.2.3.mar")])

    serve.main()

    assert (place / "store" / "fruity.mar").read_bytes() == b"archive"
    assert read_record(place / "store") == Record()


def test_a_killed_rollout_is_reported_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(place / "store", "1.2.3", underway=Underway("1.3.0", 7, "2026-06-06"))

    serve.main()
    serve.main()

    assert capsys.readouterr().out.count("to 1.3.0 was killed before its end (process 7, since 2026-06-06)") == 1


def test_a_kept_version_that_cannot_be_registered_again_does_not_stop_the_server(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    promote(place / "store", "1.2.3", kept=("1.0.0",))

    serve.main()

    assert "serve: 1.0.0 was kept beside it and cannot be registered again: no answer" in capsys.readouterr().out


def promote(store: Path, version: str, **record: Any) -> None:
    """Write into *store* what a promotion of *version* leaves there."""
    store.mkdir()
    (store / "fruity.mar").write_bytes(b"promoted")
    write_record(store, Record(default=version, **record))
