"""What `make serve` takes from the model store, and what it says of it."""

import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from ts.model_server import load_properties

from model_archive.entry import hash_file
from model_archive.identity import read_members
from scripts import serve
from serving.model_store import ROOT
from serving.rollout.record import Record, Underway, read_record
from tests.scripts.fake_server import FakeServer, Started, promote
from tests.serving.rollout.fake_torchserve import write_archive

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize(("promoted", "served"), [(None, "build/fruity-1.2.3.mar"), ("1.0.0", "promoted.mar")])
def test_the_model_store_is_filled_for_a_plain_torchserve(
    place: Path, monkeypatch: pytest.MonkeyPatch, promoted: str | None, served: str
) -> None:
    """What was promoted stays what is served: `make setup` replaced it by the newest."""
    if promoted:
        promote(place / "store", promoted)
    monkeypatch.setattr(sys, "argv", ["serve", "--stage-only"])

    serve.main()

    (place / "promoted.mar").write_bytes(b"promoted")
    assert (place / "store" / "fruity.mar").read_bytes() == (place / served).read_bytes()


def test_the_promoted_version_is_served_rather_than_the_newest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(place / "store", "1.0.0")

    serve.main()

    newest = place / "build" / "fruity-1.2.3.mar"
    said = f"serve: 1.0.0 was promoted last; the newest is {newest}, `make rollout VERSION=1.2.3` brings it\n"
    assert said in capsys.readouterr().out
    assert (place / "store" / "fruity.mar").read_bytes() == b"promoted"


def test_an_older_archive_is_no_news(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After `make rollout VERSION=2.0.0` of a fresh clone, each start offered a rollout of 1.0.0."""
    promote(place / "store", "2.0.0")

    serve.main()

    assert "serve: 2.0.0 was promoted last\n" in capsys.readouterr().out


def test_a_named_archive_is_served_and_the_promotion_is_forgotten(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(place / "store", "1.0.0")
    monkeypatch.setattr(sys, "argv", ["serve", "--archive", str(place / "build" / "fruity-1.2.3.mar")])

    serve.main()

    assert (place / "store" / "fruity.mar").read_bytes() == (place / "build" / "fruity-1.2.3.mar").read_bytes()
    assert read_record(place / "store") == Record()


def test_another_configuration_is_for_one_server_and_never_promoted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed, once something was promoted."""
    (place / "trial.yaml").write_text("minWorkers: 1\n")
    with zipfile.ZipFile(place / "build" / "fruity-1.2.3.mar", "a") as members:
        members.writestr("model-config.yaml", "minWorkers: 2\n")
    promote(place / "store", "1.2.3", place / "build" / "fruity-1.2.3.mar")
    served = (place / "store" / "fruity.mar").read_bytes()

    monkeypatch.setattr(sys, "argv", ["serve", "--config", str(place / "trial.yaml")])
    serve.main()
    trial = FakeServer.started
    monkeypatch.setattr(sys, "argv", ["serve"])
    serve.main()

    settings = load_properties(str(trial.config))
    assert (settings["load_models"], trial.archive) == ("trial.mar", place / "store" / "trial.mar")
    assert read_members(trial.archive, "model-config.yaml") == [b"minWorkers: 1\n"]
    assert FakeServer.started == Started(ROOT / "config.properties", place / "store" / "fruity.mar")
    assert (place / "store" / "fruity.mar").read_bytes() == served


def test_a_rebuild_under_the_promoted_version_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    promote(place / "store", "1.2.3", write_archive(place / "before", "1.2.3", note="before"))

    serve.main()

    served, built = (hash_file(place / name)[:12] for name in ("store/fruity.mar", "build/fruity-1.2.3.mar"))
    assert served != built
    line = capsys.readouterr().out.splitlines()[0]
    assert f"and is served, {served}…; {place}/build/fruity-1.2.3.mar is another archive" in line
    assert f"{built}…: build it under a new version, or `make serve VERSION=1.2.3` serves it" in line


def test_a_damaged_copy_of_the_promoted_version_is_replaced(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = place / "build" / "fruity-1.2.3.mar"
    promote(place / "store", "1.2.3", archive)
    shutil.copyfile(archive, place / "store" / archive.name)
    (place / "store" / "fruity.mar").write_bytes(archive.read_bytes()[:-10])

    serve.main()

    assert "fruity.mar is damaged at its table of contents" in capsys.readouterr().out
    assert (place / "store" / "fruity.mar").read_bytes() == archive.read_bytes()


def test_a_truncated_archive_is_named_with_the_intact_one_beside_it(place: Path) -> None:
    truncated = place / "build" / "fruity-1.3.0.mar"
    truncated.write_bytes((place / "build" / "fruity-1.2.3.mar").read_bytes()[:-10])

    with pytest.raises(
        SystemExit,
        match=r"fruity-1\.3\.0\.mar is damaged .*fruity-1\.2\.3\.mar .* intact.*make serve VERSION=1\.2\.3",
    ):
        serve.main()


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
