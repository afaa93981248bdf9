import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from handler.worker_activity import WorkerActivity, start_in_turn


def test_the_others_are_idle_while_only_this_worker_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    first, second = WorkerActivity(tmp_path, 100), WorkerActivity(tmp_path, 101)

    with first.busy():
        during = first.others_idle(), second.others_idle()

    assert during == (True, False)
    assert second.others_idle()


def test_a_worker_is_idle_after_an_error_in_its_batch(tmp_path: Path) -> None:
    first, second = WorkerActivity(tmp_path, 100), WorkerActivity(tmp_path, 101)

    with pytest.raises(RuntimeError), first.busy():
        raise RuntimeError

    assert second.others_idle()


def test_a_killed_worker_counts_as_idle_after_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, living = WorkerActivity(tmp_path, 100), WorkerActivity(tmp_path, 101)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    batch = killed.busy()
    batch.__enter__()

    soon = living.others_idle()
    monkeypatch.setattr("time.monotonic", lambda: 1002.0)

    assert (soon, living.others_idle()) == (False, True)


def test_a_restarted_worker_takes_the_number_of_the_one_that_ended(tmp_path: Path) -> None:
    first, second = start_claiming(tmp_path), start_claiming(tmp_path)
    numbers = [read_number(first), read_number(second)]

    first.kill()
    first.communicate()
    restarted, third = start_claiming(tmp_path), start_claiming(tmp_path)

    assert sorted(numbers) == [0, 1]
    assert sorted([read_number(restarted), read_number(third)]) == [numbers[0], 2]
    for worker in (second, restarted, third):
        worker.communicate()


def test_a_worker_keeps_only_the_file_of_its_own_number_open(tmp_path: Path) -> None:
    workers = [start_claiming(tmp_path) for _ in range(2)]
    numbers = [read_number(worker) for worker in workers]

    opened = [[Path(file.path).name for file in psutil.Process(worker.pid).open_files()] for worker in workers]

    assert opened == [[f".worker-{number}"] for number in numbers]
    for worker in workers:
        worker.communicate()


def start_claiming(folder: Path) -> "subprocess.Popen[str]":
    """Start a process that prints its number and keeps it until its input ends."""
    code = f"from handler.worker_activity import *; print(claim_number(Path({str(folder)!r})), flush=True); input()"
    # Its input ends with `communicate`, which ends it with an error that nobody needs to see.
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read_number(worker: "subprocess.Popen[str]") -> int:
    assert worker.stdout is not None
    return int(worker.stdout.readline())


def test_workers_start_one_after_the_other(tmp_path: Path) -> None:
    started = threading.Event()

    def start() -> None:
        with start_in_turn(tmp_path):
            started.set()

    second = threading.Thread(target=start)
    with start_in_turn(tmp_path):
        second.start()
        assert not started.wait(0.2)
    second.join()

    assert started.is_set()
