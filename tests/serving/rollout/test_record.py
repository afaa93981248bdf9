import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.model_store import ROOT
from serving.rollout.record import (
    Journal,
    Record,
    RolloutError,
    describe_interrupted,
    hold_lock,
    read_record,
    record_default,
    record_underway,
    write_record,
)
from tests.serving.rollout.fake_torchserve import write_archive

# Holds the lock until it is killed.
HOLD = """
import sys, time
from pathlib import Path
from serving.rollout.record import hold_lock

with hold_lock(Path(sys.argv[1]), "1.1.0"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_what_is_promoted_is_served_after_a_restart(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, "1.1.0")

    record_default(tmp_path, "1.1.0", old="1.0.0")

    record = read_record(tmp_path)
    assert (tmp_path / "fruity.mar").read_bytes() == archive.read_bytes()
    assert (record.default, record.previous) == ("1.1.0", "1.0.0")


def test_the_terminal_shows_labels_in_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(tmp_path, "rollout", "1.1.0")

    with journal.step("golden", "doing") as figures:
        figures["label"] = "apple [green]"
    journal.note("also [red]")

    shown = capsys.readouterr().out
    assert "label apple [green]" in shown
    assert "also [red]" in shown


def test_a_missing_archive_changes_nothing(tmp_path: Path) -> None:
    write_record(tmp_path, Record(default="1.0.0"))

    with pytest.raises(FileNotFoundError):
        record_default(tmp_path, "1.1.0", old="1.0.0")

    assert read_record(tmp_path) == Record(default="1.0.0")


@pytest.mark.parametrize(("default", "target"), [("1.1.0", "1.0.0"), ("1.2.0", "1.1.0")])
def test_the_rollback_target_is_right_after_a_crash_before_the_record(default: str, target: str) -> None:
    assert Record(default="1.1.0", previous="1.0.0").rollback_target(default) == target


@pytest.mark.parametrize(
    ("record", "version", "old", "is_rollback", "before"),
    [
        (Record(), "1.1.0", "1.0.0", False, ["1.0.0"]),
        (Record("1.1.0", previous="1.0.0"), "1.2.0", "1.1.0", False, ["1.0.0", "1.1.0"]),
        (Record("1.2.0", previous="1.1.0", earlier=("1.0.0",)), "1.1.0", "1.2.0", True, ["1.0.0"]),
        (Record("1.2.0", previous="1.1.0", earlier=("1.0.0",)), "1.0.0", "1.2.0", True, []),
        (Record("1.0.0"), "1.1.0", "1.0.0", True, ["1.0.0"]),
        (Record("1.1.0", previous="1.0.0"), "1.0.0", "1.1.0", False, ["1.1.0"]),
        (Record("1.1.0", previous="1.0.0"), "1.1.0", "1.2.0", True, ["1.0.0"]),
    ],
    ids=["first", "next", "back", "back twice", "back to one that never served", "lower rollout", "after a crash"],
)
def test_a_rollback_forgets_the_versions_that_it_undoes(
    record: Record, version: str, old: str, is_rollback: bool, before: list[str]
) -> None:
    assert record.list_before(version, old, is_rollback=is_rollback) == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"default": 3}'])
def test_a_record_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "versions.json").write_bytes(content)

    with pytest.raises(RolloutError, match=r"versions\.json"):
        read_record(tmp_path)


def test_a_second_process_is_refused_with_the_first_ones_version_and_number(tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path, "1.1.0"),
        pytest.raises(RolloutError, match=rf"to 1\.1\.0, process {os.getpid()}, since 20"),
        hold_lock(tmp_path, "1.2.0"),
    ):
        pass

    assert read_record(tmp_path).underway is None


def test_a_rollout_under_way_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        during = describe_interrupted(tmp_path)
        os.kill(holder.pid, signal.SIGKILL)

    after = describe_interrupted(tmp_path)
    record_underway(tmp_path, None)

    assert f"to 1.1.0 is under way (process {holder.pid}, since 20" in str(during)
    assert f"to 1.1.0 was killed before its end (process {holder.pid}, since 20" in str(after)
    assert describe_interrupted(tmp_path) is None


def test_a_full_disk_does_not_prevent_a_change_of_versions(tmp_path: Path) -> None:
    (tmp_path / "versions.json.partial").mkdir()

    with hold_lock(tmp_path, "1.0.0"):
        assert read_record(tmp_path) == Record()

    assert not (tmp_path / "versions.json").exists()
