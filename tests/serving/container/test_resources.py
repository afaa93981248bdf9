import os
import shutil
from pathlib import Path

import pytest

from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.resources import check_clock, check_folder, check_memory, count_oom_kills


def test_the_folder_is_created_for_this_user_alone_and_empty(tmp_path: Path) -> None:
    check_folder(tmp_path / "run" / "fruity")

    assert (tmp_path / "run" / "fruity").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "run" / "fruity").iterdir()) == []


def test_a_folder_without_space_or_that_cannot_be_created_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7))

    for folder, reason in ((tmp_path / "file" / "run", r"\(Not a directory\)"), (tmp_path, "10 MB free, 67 MB")):
        with pytest.raises(ContainerExit, match=f"{folder} .*{reason}") as ended:
            check_folder(folder)
        assert ended.value.code == ExitCode.SPACE


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
@pytest.mark.parametrize("limit", ["268435456", "2147483648", "max"])
def test_too_little_memory_is_refused(tmp_path: Path, file: str, limit: str) -> None:
    (tmp_path / "memory").mkdir()
    check_memory(tmp_path)
    (tmp_path / file).write_text(f"{limit}\n")

    if limit == "268435456":
        with pytest.raises(ContainerExit, match=r"268 MB, .* 671 MB") as ended:
            check_memory(tmp_path)
        assert ended.value.code == ExitCode.MEMORY
    else:
        check_memory(tmp_path)


def test_a_clock_before_the_program_was_written_is_refused(tmp_path: Path) -> None:
    written_s, day_s = 1.8e9, 86_400  # 2027-01-15
    (tmp_path / "program.py").touch()
    os.utime(tmp_path / "program.py", (written_s, written_s))

    with pytest.raises(ContainerExit, match="2027-01-13") as ended:
        check_clock(written_s - 2 * day_s, tmp_path / "program.py")
    check_clock(written_s, tmp_path / "program.py")
    check_clock()

    assert ended.value.code == ExitCode.CLOCK


def test_processes_that_the_kernel_killed_are_counted(tmp_path: Path) -> None:
    assert count_oom_kills(tmp_path) == 0
    (tmp_path / "memory.events").write_text("low 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert count_oom_kills(tmp_path) == 2
