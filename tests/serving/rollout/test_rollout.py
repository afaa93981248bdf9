import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from model_archive.identity import ArchiveError
from serving.management import ManagementError, Server
from serving.rollout.archive import read_archive
from serving.rollout.journal import Journal
from serving.rollout.judge import RolloutError, Thresholds
from serving.rollout.record import Record, read_record, record_default, write_record
from serving.rollout.rollout import Options, Rollout
from tests.pictures import draw_waves, encode
from tests.serving.rollout.fake_torchserve import GOLDEN, FakeTorchServe, FakeVersion, write_archive
from tests.serving.rollout.rollouts import history, roll_out, served_at_start

SHADOW = encode(draw_waves(40, 40))


def test_a_good_version_takes_over_and_the_old_one_leaves_its_archive_as_the_way_back(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    record = read_record(server.store)
    assert torchserve.changes == ["register 1.1.0", "promote 1.1.0", "unregister 1.0.0"]
    assert served_at_start(server.store) == "1.1.0"
    assert (record.default, record.previous, record.kept) == ("1.1.0", "1.0.0", ())
    assert read_archive(server.store / "fruity-1.0.0.mar").version == "1.0.0"


def test_each_step_is_recorded_with_its_seconds_and_figures(
    server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    (line,) = history(server.store)
    steps = {step["step"]: step for step in line["steps"]}
    assert (line["verb"], line["from"], line["to"]) == ("rollout", "1.0.0", "1.1.0")
    assert list(steps) == [
        *("begin", "fetch", "store", "register", "warm", "golden", "compare", "promote", "watch", "remember"),
        *("drain", "unregister"),
    ]
    assert all(step["seconds"] >= 0 for step in steps.values())
    assert (steps["compare"]["agreement"], steps["compare"]["error_rate"]) == (1, 0)


def test_the_old_version_can_be_kept_with_its_workers(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", keep=True)

    assert set(torchserve.versions) == {"1.0.0", "1.1.0"}
    assert read_record(server.store).kept == ("1.0.0",)


BAD = {
    "does not load": (FakeVersion("x", workers=0), "Failed to start workers"),
    "has too few workers": (FakeVersion("x", workers=1), "1 of 2 workers of 1.1.0 are READY"),
    "is not what was built": (
        FakeVersion("x", labels={GOLDEN[0].photo: "cherry"}),
        "photo 1 got 'cherry' instead of 'apple'",
    ),
    "answers in another shape": (FakeVersion("x", garbled=True), "photo 1 got status 200 instead of 'apple'"),
    "raises on golden photos": (FakeVersion("x", fails_on={GOLDEN[1].photo}), "photo 2 got status 503"),
    "raises on recent photos": (FakeVersion("x", fails_on={SHADOW}), "error_rate is 1, allowed is at most 0"),
    "says otherwise of recent photos": (
        FakeVersion("x", labels={SHADOW: "cherry"}),
        "agreement is 0, allowed is at least 0.85",
    ),
}


@pytest.mark.parametrize(("behaviour", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_version_is_gone_before_a_client_sees_it(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    behaviour: FakeVersion,
    reason: str,
) -> None:
    monkeypatch.setattr("serving.rollout.rollout._READY_S", 0)
    torchserve.behaviour["1.1.0"] = behaviour
    (tmp_path / "recent").mkdir()
    (tmp_path / "recent" / "photo.png").write_bytes(SHADOW)

    with pytest.raises((RolloutError, ManagementError), match=reason):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", shadow=tmp_path / "recent")

    assert torchserve.changes == ["register 1.1.0", "unregister 1.1.0"]
    assert (torchserve.default, served_at_start(server.store)) == ("1.0.0", "1.0.0")
    assert not (server.store / "fruity-1.1.0.mar").exists()


def test_errors_after_the_switch_bring_the_old_version_back(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
) -> None:
    torchserve.once_promoted = {"errors": 5}

    with pytest.raises(RolloutError, match=r"error_rate is 1, allowed is at most 0\.01"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.changes == ["register 1.1.0", "promote 1.1.0", "promote 1.0.0", "unregister 1.1.0"]
    assert served_at_start(server.store) == "1.0.0"
    assert read_record(server.store).default == "1.0.0"


def test_a_promotion_by_somebody_else_is_noticed(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
) -> None:
    torchserve.once_promoted = {"default": "1.0.0"}

    with pytest.raises(RolloutError, match=r"somebody else let 1\.0\.0 answer"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert list(torchserve.versions) == ["1.0.0"]


def test_a_server_that_goes_away_in_the_middle_is_told_and_comes_back_with_the_old_version(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
) -> None:
    torchserve.once_promoted = {"is_up": False}

    with pytest.raises(ManagementError, match="is the server running"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert served_at_start(server.store) == "1.0.0"
    assert len(history(server.store)[0]["notes"]) == 2


def test_a_record_that_cannot_be_written_brings_the_old_version_back(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    write_record(server.store, Record(default="1.0.0"))
    (server.store / "versions.json.partial").mkdir()

    with pytest.raises(IsADirectoryError):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.default == served_at_start(server.store) == "1.0.0"


def test_ctrl_c_after_the_record_was_written_takes_the_record_back_too(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def press(*arguments: Any, **options: Any) -> None:
        record_default(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("serving.rollout.rollout.record_default", press)
    with pytest.raises(KeyboardInterrupt):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.default == served_at_start(server.store) == "1.0.0"
    assert read_record(server.store).default == "1.0.0"


STEPS = ["begin", "fetch", "store", "register", "warm", "golden", "compare", "promote", "watch", "remember"]


@pytest.mark.parametrize("step", STEPS[1:])
def test_ctrl_c_at_any_step_leaves_the_old_version_serving_alone(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    interrupt_in(step, monkeypatch)

    with pytest.raises(KeyboardInterrupt):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert list(torchserve.versions) == ["1.0.0"]
    assert torchserve.default == served_at_start(server.store) == "1.0.0"


@pytest.mark.parametrize("step", ["drain", "unregister"])
def test_ctrl_c_while_the_old_version_leaves_keeps_the_new_one_and_says_so(
    torchserve: FakeTorchServe,
    server: Server,
    thresholds: Thresholds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    interrupt_in(step, monkeypatch)

    shown = roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.default == served_at_start(server.store) == "1.1.0"
    assert set(torchserve.versions) == {"1.0.0", "1.1.0"}
    assert "1.0.0 is still registered beside it: stopped by Ctrl-C" in shown


def interrupt_in(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C be pressed as *step* begins."""
    begin = Journal.step

    def interrupted(journal: Journal, name: str, doing: str) -> Any:
        if name == step:
            raise KeyboardInterrupt
        return begin(journal, name, doing)

    monkeypatch.setattr(Journal, "step", interrupted)


def test_a_version_that_is_registered_already_is_taken_as_it_is(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    torchserve.versions["1.1.0"] = FakeVersion("fruity-1.1.0.mar")

    roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.changes == ["promote 1.1.0", "unregister 1.0.0"]


def test_the_version_that_serves_is_not_rolled_out_again(
    server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    with pytest.raises(RolloutError, match=r"1\.0\.0 serves already"):
        roll_out(server, thresholds, tmp_path / "old" / "fruity-1.0.0.mar")


def test_a_lower_version_needs_to_be_allowed(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    lower = write_archive(tmp_path / "build", "0.9.0")

    with pytest.raises(RolloutError, match=r"0\.9\.0 is lower than 1\.0\.0, which serves; `make rollback` goes back"):
        roll_out(server, thresholds, lower)
    roll_out(server, thresholds, lower, allow_lower=True)

    assert torchserve.default == "0.9.0"


def test_a_version_with_another_digest_in_the_store_is_refused(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    (server.store / "fruity-1.1.0.mar").write_bytes(write_archive(tmp_path / "x", "1.1.0", note="other").read_bytes())

    with pytest.raises(
        ArchiveError, match=r"1\.1\.0 is in the model store with another digest.*give the new one a new"
    ):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.changes == []


def test_without_the_archive_that_serves_there_is_no_way_back_and_so_no_rollout(
    server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    (server.store / "fruity.mar").unlink()

    with pytest.raises(ArchiveError, match=r"the archive of 1\.0\.0, which serves, is no longer in the model store"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar")


def test_labels_that_are_gone_are_counted(server: Server, thresholds: Thresholds, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "build", "1.2.0", labels=("apple", "banana", "fig"))

    with pytest.raises(RolloutError, match="labels_removed is 2, allowed is at most 0"):
        roll_out(server, thresholds, archive)


def test_a_shadow_folder_without_photos_is_named(server: Server, thresholds: Thresholds, tmp_path: Path) -> None:
    (tmp_path / "recent").mkdir()

    with pytest.raises(RolloutError, match=r"recent holds no photos; name one that does"):
        roll_out(server, thresholds, tmp_path / "build" / "fruity-1.1.0.mar", shadow=tmp_path / "recent")


def test_differences_are_shown_and_many_of_them_are_counted(
    torchserve: FakeTorchServe, server: Server, thresholds: Thresholds, tmp_path: Path
) -> None:
    photos = {f"{i}.png": encode(draw_waves(20 + i, 20)) for i in range(10)}
    (tmp_path / "recent").mkdir()
    for name, photo in photos.items():
        (tmp_path / "recent" / name).write_bytes(photo)
    torchserve.behaviour["1.1.0"] = FakeVersion("x", labels=dict.fromkeys(photos.values(), "fig"))
    lenient = msgspec.structs.replace(thresholds, shadow_agreement=0)

    shown = roll_out(server, lenient, tmp_path / "build" / "fruity-1.1.0.mar", shadow=tmp_path / "recent")

    assert ".png: apple 90.0% → fig 90.0%" in shown
    assert "and 2 more" in shown


def test_the_way_back_asks_no_comparison(torchserve: FakeTorchServe, server: Server, tmp_path: Path) -> None:
    journal = Journal(server.store, Console(file=io.StringIO()), "rollback", "1.1.0")

    Rollout(server, Options("1.1.0"), journal).return_to(lambda store: tmp_path / "build" / "fruity-1.1.0.mar")

    assert torchserve.changes == ["register 1.1.0", "promote 1.1.0", "unregister 1.0.0"]
    assert torchserve.versions["1.1.0"].asked == len(GOLDEN)
