from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from serving.container.health import Health
from serving.readiness import Busy, NotReady

TWO = {"1.0.0/9000": 11, "1.0.0/9001": 12}


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Watched:
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.health = Health(self.clock)

    def see(self, workers: dict[str, int], *, after_s: float = 5) -> str:
        """Let the model answer with *workers*; return why it is not ready."""
        self.clock.now_s += after_s
        self.health.check(lambda: workers)
        return self.health.unready_reason


def fail(reason: NotReady) -> Callable[[], dict[str, int]]:
    def ask() -> NoReturn:
        raise reason

    return ask


def test_before_the_first_answer_it_is_not_ready_and_not_stuck() -> None:
    assert (Health().unready_reason, Health().stuck_reason) == ("the model is not loaded yet", "")


def test_an_answer_makes_it_ready_and_a_failure_unready_with_the_reason() -> None:
    watched = Watched()

    assert watched.see(TWO) == ""
    watched.health.check(fail(NotReady("1 of 2 workers are ready")))
    assert watched.health.unready_reason == "1 of 2 workers are ready"
    assert watched.see(TWO) == ""


def test_a_full_queue_changes_nothing_and_is_a_sign_of_life() -> None:
    watched = Watched()
    watched.see(TWO)
    watched.clock.now_s += 1000

    watched.health.check(fail(Busy("503")))

    assert (watched.health.unready_reason, watched.health.stuck_reason) == ("", "")


def test_silence_for_two_minutes_is_stuck() -> None:
    watched = Watched()
    watched.see(TWO)

    watched.clock.now_s += 120
    assert watched.health.stuck_reason == ""
    watched.clock.now_s += 1
    watched.health.check(fail(NotReady("timed out")))
    assert watched.health.stuck_reason == "the model has not answered for 121 s"


def test_workers_that_die_again_and_again_make_it_unready_until_they_are_calm() -> None:
    watched = Watched()
    watched.see(TWO)

    assert watched.see(TWO | {"1.0.0/9000": 21}) == ""
    assert watched.see({"1.0.0/9000": 31, "1.0.0/9001": 22}) == "3 workers died within 60 s"
    assert watched.see({"1.0.0/9000": 31, "1.0.0/9001": 22}, after_s=50) != ""
    assert watched.see({"1.0.0/9000": 31, "1.0.0/9001": 22}, after_s=11) == ""


def test_another_version_or_another_number_of_workers_is_no_death() -> None:
    watched = Watched()
    watched.see(TWO)

    for round_number in range(5):
        assert watched.see({f"2.0.{round_number}/9000": round_number}) == ""
        assert watched.see({f"2.0.{round_number}/9000": round_number, "more": round_number}) == ""


@pytest.mark.parametrize("late", [lambda: TWO, fail(NotReady("gone"))])
def test_a_stopping_container_stays_unready_whatever_is_answered(late: Callable[[], dict[str, int]]) -> None:
    watched = Watched()
    watched.see(TWO)

    watched.health.stop()
    watched.health.check(late)

    assert watched.health.unready_reason == "the container is stopping"
