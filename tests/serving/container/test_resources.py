import os
import shutil
from pathlib import Path

import pytest

from serving.container import resources
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.resources import check_clock, check_folder, check_memory, count_oom_kills


def test_the_folder_is_created_for_this_user_alone_and_empty(tmp_path: Path) -> None:
    check_folder(tmp_path / "run" / "fruity")

    assert (tmp_path / "run" / "fruity").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "run" / "fruity").iterdir()) == []


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ContainerExit, match=r"file/run .*\(Not a directory\)") as ended:
        check_folder(tmp_path / "file" / "run")

    assert ended.value.code == ExitCode.SPACE


def test_too_little_space_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7))

    with pytest.raises(ContainerExit, match="10 MB free, 67 MB") as ended:
        check_folder(tmp_path)

    assert ended.value.code == ExitCode.SPACE


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_too_little_memory_is_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / file).write_text("268435456\n")

    with pytest.raises(ContainerExit, match=r"268 MB, .* 671 MB") as ended:
        check_memory(tmp_path)

    assert ended.value.code == ExitCode.MEMORY


@pytest.mark.parametrize("limit", ["max", "2147483648", None])
def test_enough_memory_or_no_limit_is_accepted(tmp_path: Path, limit: str | None) -> None:
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")

    check_memory(tmp_path)


def test_a_clock_before_the_program_was_written_is_refused(tmp_path: Path) -> None:
    written_s, day_s = 1.8e9, 86_400  # 2027-01-15
    (tmp_path / "program.py").touch()
    os.utime(tmp_path / "program.py", (written_s, written_s))

    with pytest.raises(ContainerExit, match="2027-01-13") as ended:
        check_clock(written_s - 2 * day_s, tmp_path / "program.py")
    check_clock(written_s, tmp_path / "program.py")
    check_clock(written_s + 400 * day_s, tmp_path / "program.py")
    check_clock()

    assert ended.value.code == ExitCode.CLOCK


def test_processes_that_the_kernel_killed_are_counted(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n")

    assert count_oom_kills(tmp_path) == 2
    assert count_oom_kills(tmp_path / "nowhere") == 0
    assert count_oom_kills(resources._CGROUP) >= 0
