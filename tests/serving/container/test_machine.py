import os
import shutil
from pathlib import Path

import pytest

from serving.container import machine
from serving.container.exits import Ending, Exit
from serving.container.machine import check_clock, check_folder, check_memory, count_oom_kills


def test_a_folder_is_made_for_nobody_else_to_read(tmp_path: Path) -> None:
    check_folder(tmp_path / "run" / "fruity")

    assert (tmp_path / "run" / "fruity").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "run" / "fruity").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(Ending, match=r"file/run cannot be written to \(Not a directory\); mount a tmpfs") as ending:
        check_folder(tmp_path / "file" / "run")

    assert ending.value.exit_code == Exit.SPACE


def test_too_little_space_is_told_with_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7))

    with pytest.raises(Ending, match="has 10 MB free, 67 MB are needed; give its tmpfs or volume more") as ending:
        check_folder(tmp_path)

    assert ending.value.exit_code == Exit.SPACE


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_too_little_memory_is_told_with_how_much_is_needed(tmp_path: Path, file: str) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text("268435456\n")

    with pytest.raises(Ending, match="may use 268 MB of memory, the model needs 671 MB; give it 1 GB") as ending:
        check_memory(tmp_path)

    assert ending.value.exit_code == Exit.MEMORY


@pytest.mark.parametrize("limit", ["max", "2147483648", None])
def test_enough_memory_or_no_limit_is_fine(tmp_path: Path, limit: str | None) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")

    check_memory(tmp_path)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A file of 2027-01-15."""
    (tmp_path / "program.py").touch()
    os.utime(tmp_path / "program.py", (1.8e9, 1.8e9))
    return tmp_path / "program.py"


def test_a_clock_before_the_program_was_written_is_refused(program: Path) -> None:
    with pytest.raises(Ending, match="the clock says 2027-01-13, which is before this image was made") as ending:
        check_clock(1.8e9 - 2 * 86_400, program)

    assert ending.value.exit_code == Exit.CLOCK


@pytest.mark.parametrize("days", [0, 400])
def test_a_later_clock_is_fine(program: Path, days: int) -> None:
    check_clock(1.8e9 + days * 86_400, program)


def test_todays_clock_is_fine() -> None:
    check_clock()


def test_killed_processes_are_counted(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n")

    assert count_oom_kills(tmp_path) == 2
    assert count_oom_kills(tmp_path / "nowhere") == 0
    assert count_oom_kills(machine._CGROUP) >= 0
