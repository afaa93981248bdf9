import os

import psutil
import pytest

from serving.management import Queue, Version, Worker
from serving.rollout.capacity import Machine, check_capacity, read_machine
from serving.rollout.record import RolloutError


def describe(version: str, *pids: int) -> Version:
    workers = tuple(Worker(str(pid), "READY", pid, "2026-01-01") for pid in pids)
    return Version(version, f"fruity-{version}.mar", 2, 30, workers, Queue(0))


def test_memory_is_reckoned_with_what_a_running_worker_takes() -> None:
    """The worker here is this process."""
    versions = [describe("1.0.0", os.getpid()), describe("1.1.0")]
    machine = Machine(cores=100, free_bytes=int(2.5 * psutil.Process().memory_info().rss))

    check_capacity(3, versions, "1.0.0", machine)
    check_capacity(2, versions, "1.1.0", machine)
    for workers, version, most in ((5, "1.0.0", 3), (4, "1.1.0", 2)):
        with pytest.raises(
            RolloutError, match=rf"workers is {workers}, allowed is at most {most}: one takes [\d,]+ MB"
        ):
            check_capacity(workers, versions, version, machine)


def test_without_a_process_to_measure_a_worker_takes_what_the_default_model_takes() -> None:
    gone = 2**22  # over the highest number of a process
    machine = Machine(cores=100, free_bytes=400_000_000)

    check_capacity(4, [describe("1.0.0", gone)], "1.0.0", machine)
    with pytest.raises(RolloutError, match="at most 4: one takes 130 MB, and 400 MB of memory are free"):
        check_capacity(5, [describe("1.0.0", gone)], "1.0.0", machine)


def test_as_many_workers_as_run_are_accepted_without_free_memory() -> None:
    check_capacity(2, [describe("1.0.0", 2**22, 2**22)], "1.0.0", Machine(cores=1, free_bytes=-5))


def test_this_machine_has_cores_and_memory() -> None:
    machine = read_machine()

    assert 1 <= machine.cores <= len(os.sched_getaffinity(0))
    assert 0 < machine.free_bytes < psutil.virtual_memory().total
