from collections.abc import Callable
from typing import NoReturn

import pytest

from serving.container.health import Health, Workers
from serving.readiness import Busy, NotReady

TWO = {"1.0.0/9000": 11, "1.0.0/9001": 12}


class Watched:
    """A health with a clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.health = Health(lambda: self.now_s)

    def check(self, answer: Workers | NotReady, *, after_s: float = 5) -> str:
        """Let the model answer with its workers or not at all; return why it is not ready."""
        self.now_s += after_s
        self.health.check(ask(answer))
        return self.health.unready_reason


def ask(answer: Workers | NotReady) -> Callable[[], Workers]:
    def fail() -> NoReturn:
        assert isinstance(answer, NotReady)
        raise answer

    return fail if isinstance(answer, NotReady) else lambda: answer


@pytest.fixture
def watched() -> Watched:
    """A model that has answered once."""
    watched = Watched()
    assert watched.check(TWO) == ""
    return watched


def test_before_the_first_answer_it_is_neither_ready_nor_stuck() -> None:
    assert Health().unready_reason
    assert not Health().stuck_reason


def test_a_failure_makes_it_unready_and_an_answer_makes_it_ready(watched: Watched) -> None:
    assert watched.check(NotReady("1 of 2 workers are ready")) == "1 of 2 workers are ready"
    assert watched.check(TWO) == ""


def test_a_full_queue_keeps_readiness_and_counts_as_an_answer(watched: Watched) -> None:
    assert watched.check(Busy("503"), after_s=1000) == ""
    assert watched.health.stuck_reason == ""


def test_two_minutes_without_an_answer_are_stuck(watched: Watched) -> None:
    watched.now_s += 120
    assert watched.health.stuck_reason == ""
    watched.check(NotReady("timed out"), after_s=1)
    assert "121 s" in watched.health.stuck_reason


def test_three_deaths_of_workers_within_a_minute_make_it_unready(watched: Watched) -> None:
    last = {"1.0.0/9000": 31, "1.0.0/9001": 22}

    assert watched.check(TWO | {"1.0.0/9000": 21}) == ""
    assert watched.check(last) == "3 workers died within 60 s"
    assert watched.check(last, after_s=50) != ""
    assert watched.check(last, after_s=11) == ""


def test_a_new_version_or_another_number_of_workers_is_not_a_death(watched: Watched) -> None:
    for number in range(5):
        assert watched.check({f"2.0.{number}/9000": number}) == ""
        assert watched.check({f"2.0.{number}/9000": number, "more": number}) == ""


@pytest.mark.parametrize("answer", [TWO, NotReady("gone")])
def test_a_stopping_container_stays_unready(watched: Watched, answer: Workers | NotReady) -> None:
    watched.health.stop()

    assert watched.check(answer) == "the container is stopping"
