import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from handler.child_process import ChildFailed, run_in_child

OPEN_FILES = Path("/proc/self/fd")


def spin() -> bytes:
    while True:
        pass


def wait() -> bytes:
    time.sleep(60)
    return b""


def crash() -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b"unreachable"


def fail() -> bytes:
    raise ValueError("a bug")


def count_descriptors() -> int:
    return len(list(OPEN_FILES.iterdir()))


def test_the_result_comes_back_whole() -> None:
    content, cpu_seconds = run_in_child(lambda: bytes(5_000_000) + b"end", max_cpu_seconds=5)

    assert (len(content), content[-3:]) == (5_000_003, b"end")
    assert 0 <= cpu_seconds < 5


def test_what_it_changes_stays_in_the_process() -> None:
    values: list[int] = []

    def change() -> bytes:
        values.append(1)
        return bytes(values)

    assert run_in_child(change, max_cpu_seconds=5)[0] == b"\x01"
    assert values == []


@pytest.mark.parametrize("function", [spin, wait])
def test_a_function_that_does_not_end_is_stopped_and_leaves_nothing(function: object) -> None:
    descriptors, children = count_descriptors(), psutil.Process().children()

    with pytest.raises(ChildFailed, match="stopped after") as failure:
        run_in_child(function, max_cpu_seconds=0.2)  # type: ignore[arg-type]

    assert failure.value.cpu_seconds < 1.0
    assert count_descriptors() == descriptors
    assert psutil.Process().children() == children


def write_a_part_and_be_killed() -> bytes:
    os.write(max(int(file.name) for file in OPEN_FILES.iterdir() if file.exists()), b"part")
    os.kill(os.getpid(), signal.SIGKILL)
    return b"unreachable"


@pytest.mark.parametrize("function", [crash, fail, write_a_part_and_be_killed])
def test_a_function_that_crashes_costs_its_process_only(function: object) -> None:
    with pytest.raises(ChildFailed, match="crashed"):
        run_in_child(function, max_cpu_seconds=5)  # type: ignore[arg-type]


def test_without_a_process_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    descriptors = count_descriptors()

    with pytest.raises(BlockingIOError):
        run_in_child(lambda: b"", max_cpu_seconds=5)

    assert count_descriptors() == descriptors


def test_the_process_keeps_no_file_of_its_parent_open() -> None:
    kept, _ = run_in_child(lambda: bytes(count_descriptors()), max_cpu_seconds=5)

    # Standard streams, the pipe, and the folder that is listed.
    assert len(kept) <= 5
