import random

import pytest

from benchmarks.capacity.capacity_results import ServiceTimes
from benchmarks.capacity.service_times import TimedAnswer, TimedLoad, find_batches, find_service_times
from benchmarks.measurement import BenchError


def answer_batch(ended_s: float, handler_ms: float, size: int = 1, outside_ms: float = 3.0) -> list[TimedAnswer]:
    """Return the answers of a batch, received a tenth of a millisecond after each other."""
    latency_ms = handler_ms + outside_ms
    return [TimedAnswer(ended_s + number / 10_000, latency_ms, handler_ms, handler_ms / 2) for number in range(size)]


def test_answers_with_the_same_times_at_once_are_a_batch() -> None:
    answers = [*answer_batch(1.0, 10.0, size=3), *answer_batch(1.1, 12.0, size=2)]
    random.Random(0).shuffle(answers)

    batches = find_batches(answers)

    assert [batch.size for batch in batches] == [3, 2]
    assert [batch.started_s for batch in batches] == pytest.approx([0.990, 1.088])


def test_two_batches_that_took_the_same_time_are_two() -> None:
    batches = find_batches([*answer_batch(1.0, 10.0, size=2), *answer_batch(1.01, 10.0, size=2)])

    assert [batch.size for batch in batches] == [2, 2]
    assert [batch.ended_s for batch in batches] == pytest.approx([1.0, 1.01])


def make_loads() -> dict[int, list[TimedLoad]]:
    """Return one client that waits for 8 ms, and four whose two batches of two overlap in part."""
    one = [answer for number in range(100) for answer in answer_batch(number / 50, 8.0 + number / 100)]
    four = []
    for number in range(100):
        four += answer_batch(number / 50 + 0.010, 10.0 + number / 1000, size=2)
        four += answer_batch(number / 50 + 0.016, 12.0 + number / 1000, size=2)
    return {1: [TimedLoad(one, 2.0, 1.0, 0.1)], 4: [TimedLoad(four, 2.0, 1.0, 0.1)]}


def find(loads: dict[int, list[TimedLoad]], batch_size: int) -> ServiceTimes:
    """Return the service times where the open loops have the same batches as the closed ones."""
    open_loops = [load.answers for same in loads.values() for load in same]
    return find_service_times(open_loops, loads, batch_size, workers=2, batch_delay_ms=1.0)


def test_durations_are_told_apart_by_size_and_by_the_other_worker() -> None:
    service = find(make_loads(), batch_size=2)

    assert [same[50] for same in service.idle_ms] == [pytest.approx(8.5, abs=0.02), pytest.approx(10.05, abs=0.02)]
    # No batch of one started beside a busy worker: half the time of two.
    assert [same[50] for same in service.busy_ms] == [pytest.approx(6.025, abs=0.02), pytest.approx(12.05, abs=0.02)]


def test_the_time_outside_the_handler_is_what_clients_waited_for_beside_it() -> None:
    service = find(make_loads(), batch_size=2)

    assert service.overhead_ms == pytest.approx([2.0] * 100)
    # Each worker answers two requests in 20 ms, and its handler takes 11.05 of them.
    assert service.gap_ms == pytest.approx(20 - 11.05, abs=0.01)


def test_too_few_batches_are_refused() -> None:
    loads = {1: [TimedLoad(answer_batch(1.0, 8.0), 1.0, 1.0, 0.1)]}

    with pytest.raises(BenchError, match="no size of batch was seen 30 times; measure for longer"):
        find(loads, batch_size=4)
