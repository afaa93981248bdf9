from pathlib import Path

import pytest

from handler.worker_activity import WorkerActivity


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
