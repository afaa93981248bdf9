import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from handler.log_folder import LogFolder, is_finished, list_files

LINE = b"x" * 999 + b"\n"


def fill(log: LogFolder, num_lines: int) -> None:
    for _ in range(num_lines):
        log.append(LINE)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def start_writing(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that appends a line to *folder*, says so and waits."""
    code = f"from handler.log_folder import *; log = LogFolder(Path({str(folder)!r}), 10**6); log.append(b'a line\\n')"
    worker = subprocess.Popen(
        [sys.executable, "-c", f"{code}; print('written', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "written\n"
    return worker


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or call("mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)):
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    call("umount", "-l", str(folder))


def call(*command: str) -> int:
    """Return the exit status of *command*."""
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_a_file_is_named_by_its_start_and_process_and_continues_in_the_next_when_full(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, max_bytes=100_000)

    fill(log, 12)

    paths = sorted(tmp_path.iterdir())
    assert [path.stat().st_size for path in paths] == [5000, 5000, 2000]
    assert all(path.name.endswith(f"-{os.getpid()}.jsonl") for path in paths)
    assert [is_finished(path) for path in paths] == [True, True, False]


def test_the_oldest_files_are_deleted_so_that_the_folder_keeps_below_its_cap(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, max_bytes=100_000)

    sizes = []
    for _ in range(40):
        fill(log, 10)
        sizes.append(size(tmp_path))

    assert max(sizes) <= 80_000
    assert min(sizes[10:]) >= 60_000


def test_files_of_earlier_servers_and_photos_count_too(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        for path in (tmp_path / f"20200101T0000{number:02}-1.jsonl", tmp_path / "photos" / f"{number}.webp"):
            path.write_bytes(b"x" * 5000)
            os.utime(path, (number, number))
    log = LogFolder(tmp_path, max_bytes=100_000)

    fill(log, 1)

    assert size(tmp_path) <= 71_000
    assert {path.name for path in (tmp_path / "photos").iterdir()} == {f"{number}.webp" for number in range(13, 20)}


def test_photos_are_deleted_with_the_rest(tmp_path: Path) -> None:
    log = LogFolder(tmp_path, max_bytes=100_000)

    for number in range(200):
        log.keep_photo(f"{number}.webp", b"x" * 2000)

    assert 60_000 <= size(tmp_path) <= 80_000
    assert (tmp_path / "photos" / "199.webp").exists()


def test_a_file_that_is_old_is_finished_at_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFolder(tmp_path, max_bytes=100_000)
    fill(log, 1)

    later_s = time.monotonic() + 601
    monkeypatch.setattr("handler.log_folder.time.monotonic", lambda: later_s)
    fill(log, 1)

    assert [path.stat().st_size for path in sorted(tmp_path.iterdir())] == [1000, 1000]


def test_a_file_is_listed_once_it_is_locked_and_has_its_name(tmp_path: Path) -> None:
    """Before that it seems to be finished, and would be moved from under its worker."""
    (tmp_path / ".20261128T000000.000000-1.jsonl").touch()
    log = LogFolder(tmp_path, max_bytes=100_000)

    fill(log, 1)

    assert [path.name[0] for path in list_files(tmp_path)] == ["2"]


def test_a_line_is_written_to_a_new_file_after_somebody_deleted_the_folder(tmp_path: Path) -> None:
    log = LogFolder(tmp_path / "log", max_bytes=100_000)
    fill(log, 1)

    shutil.rmtree(tmp_path / "log")
    fill(log, 1)

    assert size(tmp_path / "log") == 1000


def test_several_workers_write_files_of_their_own_which_are_finished_when_they_end(tmp_path: Path) -> None:
    workers = [start_writing(tmp_path) for _ in range(2)]
    while_running = [is_finished(path) for path in tmp_path.iterdir()]

    workers[0].kill()
    workers[1].communicate()
    workers[0].communicate()

    assert while_running == [False, False]
    assert [(path.read_bytes(), is_finished(path)) for path in tmp_path.iterdir()] == [(b"a line\n", True)] * 2


def test_a_full_disk_leaves_no_cut_off_line_and_is_used_again_when_there_is_space(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(200_000))
    log = LogFolder(small_disk / "log", max_bytes=10_000_000)

    with pytest.raises(OSError, match="No space left"):
        fill(log, 300)
    (path,) = (small_disk / "log").iterdir()
    num_before = path.read_bytes().count(b"\n")
    (small_disk / "ballast").unlink()
    fill(log, 1)

    assert num_before > 10
    assert path.read_bytes() == LINE * (num_before + 1)


def test_a_read_only_disk_is_an_error_and_used_again_when_it_can_be_written(small_disk: Path) -> None:
    log = LogFolder(small_disk, max_bytes=10_000_000)

    assert call("mount", "-o", "remount,ro", str(small_disk)) == 0
    with pytest.raises(OSError, match="Read-only"):
        fill(log, 1)
    assert call("mount", "-o", "remount,rw", str(small_disk)) == 0
    fill(log, 1)

    assert size(small_disk) == 1000
