from pathlib import Path

import pytest

from handler.neighbours import Neighbours


def test_neighbours_are_idle_while_only_this_worker_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    first, second = Neighbours(tmp_path, 100), Neighbours(tmp_path, 101)

    with first.at_work():
        during = first.are_idle(), second.are_idle()

    assert during == (True, False)
    assert second.are_idle()


def test_a_worker_that_joins_later_sees_who_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)

    with Neighbours(tmp_path, 100).at_work():
        assert not Neighbours(tmp_path, 1123).are_idle()


def test_a_failure_in_a_batch_leaves_no_mark(tmp_path: Path) -> None:
    first, second = Neighbours(tmp_path, 100), Neighbours(tmp_path, 101)

    with pytest.raises(RuntimeError), first.at_work():
        raise RuntimeError

    assert second.are_idle()


def test_the_mark_of_a_killed_worker_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, living = Neighbours(tmp_path, 100), Neighbours(tmp_path, 101)
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    mark = killed.at_work()
    mark.__enter__()

    soon = living.are_idle()
    monkeypatch.setattr("time.monotonic", lambda: 1002.0)

    assert (soon, living.are_idle()) == (False, True)
