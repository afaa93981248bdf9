import socket
import sys
from pathlib import Path

import pytest

from model_archive.signature import create_keys
from scripts import serve
from serving.model_store import BUILD
from serving.rollout.record import read_record
from serving.torchserve import TorchServe, check_ports_free
from tests.scripts.damages import write_damaged
from tests.scripts.fake_server import FakeServer, PortlessServer, promote

pytestmark = pytest.mark.usefixtures("place")


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
    assert (place / "store" / "fruity.mar").read_bytes() == (place / "build" / "fruity-1.2.3.mar").read_bytes()


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


def test_a_second_server_changes_nothing_of_the_first_ones_model_store(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(place / "store", "1.0.0", previous="0.9.0")
    monkeypatch.setattr(serve, "check_ports_free", check_ports_free)
    monkeypatch.setattr(serve, "ROOT", place)
    monkeypatch.setattr(sys, "argv", ["serve", "--version", "1.2.3"])

    with socket.create_server(("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        addresses = [f"{name}_address=http://127.0.0.1:{port}\n" for name in ("inference", "management", "metrics")]
        (place / "config.properties").write_text("".join(addresses))
        with pytest.raises(SystemExit, match=f"^serve: port {port} is taken"):
            serve.main()

    assert (place / "store" / "fruity.mar").read_bytes() == b"promoted"
    assert read_record(place / "store").previous == "0.9.0"


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
    class RunningServer(TorchServe):
        """Waits as the real one does, without a process."""

        __enter__ = FakeServer.__enter__
        __exit__ = FakeServer.__exit__

    (place / "build" / "fruity-1.2.3.mar").unlink()
    write_damaged(place / "damaged", "golden.json")
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["serve", *arguments])
    monkeypatch.setattr(serve, "TorchServe", RunningServer)

    with pytest.raises(SystemExit, match=f"^serve: .*{reason}"):
        serve.main()
