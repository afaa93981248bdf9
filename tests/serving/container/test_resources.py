import os
import shutil
from pathlib import Path

import pytest

from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.resources import (
    check_clock,
    check_folder,
    check_memory,
    count_oom_kills,
    read_memory,
    read_throttled_s,
)


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


def test_kills_that_cannot_be_read_do_not_keep_the_end_of_a_part_from_being_reported(tmp_path: Path) -> None:
    (tmp_path / "memory.events").mkdir()

    assert count_oom_kills(tmp_path) == 0


@pytest.mark.parametrize(
    "files",
    [
        {"memory.current": 900, "memory.max": 2000, "memory.stat": "anon 5\ninactive_file 300\n"},
        {
            "memory/memory.usage_in_bytes": 900,
            "memory/memory.limit_in_bytes": 2000,
            "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
        },
    ],
)
def test_memory_in_use_is_the_containers_without_the_cache_of_files(tmp_path: Path, files: dict[str, object]) -> None:
    write(tmp_path, files)

    assert read_memory(tmp_path) == (600, 2000)


def test_memory_without_a_limit_is_limited_by_the_machine(tmp_path: Path) -> None:
    used, machine = read_memory(tmp_path)
    write(tmp_path, {"memory.current": 900, "memory.max": "max", "memory.stat": ""})

    assert 0 < used < machine
    assert read_memory(tmp_path) == (900, machine)


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({}, 0),
        ({"cpu.stat": "usage_usec 9\nnr_throttled 2\nthrottled_usec 1500000\n"}, 1.5),
        ({"cpu/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 1500000000\n"}, 1.5),
    ],
)
def test_the_time_without_cpu_is_in_seconds(tmp_path: Path, files: dict[str, object], seconds: float) -> None:
    write(tmp_path, files)

    assert read_throttled_s(tmp_path) == seconds


def write(folder: Path, files: dict[str, object]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"{text}\n")
