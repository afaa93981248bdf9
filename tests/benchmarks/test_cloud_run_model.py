import numpy as np
import pytest

from benchmarks.capacity.capacity_results import Option
from benchmarks.capacity.capacity_simulation import recommend
from benchmarks.capacity.cloud_run_model import Day, InstanceModel, simulate_day
from benchmarks.capacity.cloud_run_service import read_service
from benchmarks.capacity.day_traffic import DAY_S, plan_day

# 100 photos/s in 10 ms each, in 50 ms where it is busy for more than half of the time.
INSTANCE = InstanceModel(
    concurrency=16,
    rate=100.0,
    cpu_share=0.9,
    shares=(0.5, 1.0),
    latencies_s=np.array([[0.010] * 100, [0.050] * 100]),
)
START_S = 5.0
RUNNING = slice(120, None)


def simulate(rates: np.ndarray, least: int = 1, most: int = 10) -> Day:
    return simulate_day(INSTANCE, rates, min_instances=least, max_instances=most, start_s=START_S)


def constant(rate: float, seconds: int = 3600) -> np.ndarray:
    return np.full(seconds, rate)


def step(before: float, after: float) -> np.ndarray:
    """Return ten minutes of one rate, then twenty of another."""
    return np.concatenate([constant(before, 600), constant(after, 1200)])


@pytest.mark.parametrize("least", [1, 3])
def test_without_traffic_the_least_instances_run(least: int) -> None:
    day = simulate(constant(0.0), least)

    assert set(day.billed) == {least}
    assert day.percentile_s(INSTANCE, 99) == 0.0


def test_instances_keep_their_cpus_at_the_target() -> None:
    day = simulate(constant(400.0))

    # 400 photos/s need 4 x 0.9 busy instances' CPUs, which is 60 % of 6.
    assert day.billed[-1] in {6, 7}
    assert day.percentile_s(INSTANCE, 99, RUNNING) < 0.060


def test_instances_keep_the_requests_in_flight_at_the_target() -> None:
    slow = InstanceModel(concurrency=4, rate=100.0, cpu_share=0.1, shares=(1.0,), latencies_s=np.full((1, 100), 0.1))

    day = simulate_day(slow, constant(60.0), 1, 50, START_S)

    # 6 in flight in the mean, which is 60 % of 2.5 times 4.
    assert day.billed[-1] in {3, 4}


def test_requests_of_a_burst_wait_for_the_instances_that_it_starts() -> None:
    day = simulate(step(20.0, 500.0))

    before, burst, later = slice(60, 600), slice(600, 660), slice(720, None)
    seen_s = [day.percentile_s(INSTANCE, 99, seconds) for seconds in (before, burst, later)]
    assert seen_s == [0.010, pytest.approx(4 * START_S, rel=0.5), pytest.approx(0.050)]
    assert (day.billed[599], day.billed.max()) == (1, 10)


def test_more_instances_from_the_beginning_shorten_the_wait_of_a_burst() -> None:
    waits_s = [simulate(step(20.0, 500.0), least).wait_s.max() for least in (1, 3, 8)]

    assert waits_s == sorted(waits_s, reverse=True)
    assert waits_s[0] > 2 * waits_s[-1]


def test_a_service_never_has_more_than_its_most_instances_and_rejects_what_waits_too_long() -> None:
    day = simulate(constant(1000.0), most=2)

    assert day.billed.max() == 2
    assert day.rejected.sum() / day.arrived.sum() == pytest.approx(0.8, abs=0.02)
    # 3.5 starts are 17.5 s.
    assert day.wait_s.max() == pytest.approx(17.5, abs=0.1)


def test_idle_instances_are_billed_for_a_quarter_of_an_hour() -> None:
    day = simulate(np.concatenate([constant(400.0, 600), constant(1.0, 1200)]))

    surplus = np.flatnonzero(day.billed > 1)
    assert surplus.max() == pytest.approx(600 + 60 + 900, abs=30)


def test_an_idle_instance_is_used_again_without_a_start() -> None:
    rates = np.concatenate([constant(400.0, 600), constant(1.0, 300), constant(400.0, 600)])

    day = simulate(rates)

    assert day.billed[900:].max() == day.billed[:900].max()


def test_all_requests_are_answered_rejected_or_still_waiting() -> None:
    day = simulate(constant(250.0), most=3)

    latencies_s, weights = day.latencies_s(INSTANCE, slice(None))
    assert weights.sum() == pytest.approx(day.arrived.sum() - day.rejected.sum())
    assert list(latencies_s) == sorted(latencies_s)


def test_a_day_has_its_peak_at_dinner_and_a_burst_from_one_second_to_the_next() -> None:
    rates = plan_day(instance_rate=100.0)

    before, after = rates[20 * 3600 - 1], rates[20 * 3600]
    assert len(rates) == DAY_S
    assert after - before == pytest.approx(400.0, abs=1)
    assert rates[3 * 3600] == pytest.approx(5.0, abs=0.1)
    assert rates[: 20 * 3600].argmax() == pytest.approx(19 * 3600, abs=60)


def make_option(euros: float, slow: float = 0.0, rejected: float = 0.0, worst_p99_ms: float = 100.0) -> Option:
    return Option(
        concurrency=16,
        min_instances=1,
        p99_ms=50.0,
        slow_share=slow,
        rejected_share=rejected,
        worst_p99_ms=worst_p99_ms,
        mean_instances=1.0,
        most_instances=2,
        euros=euros,
    )


def test_the_cheapest_option_that_reaches_the_objectives_is_recommended() -> None:
    slow, rejecting, good = make_option(1, slow=0.011), make_option(2, rejected=0.0011), make_option(3)

    assert recommend([slow, rejecting, make_option(4), good]) is good


def test_of_two_options_at_one_price_the_one_with_the_better_five_minutes_is_recommended() -> None:
    worse, better = make_option(3, worst_p99_ms=900.0), make_option(3, worst_p99_ms=800.0)

    assert recommend([worse, better]) is better


def test_if_no_option_reaches_the_objectives_the_one_that_misses_the_least_is_recommended() -> None:
    bad, worse = make_option(4, slow=0.02), make_option(1, slow=0.02, rejected=0.01)

    assert recommend([worse, bad]) is bad


def test_the_price_of_an_instance_counts_its_sidecar() -> None:
    service = read_service()

    # 2 + 1 vCPUs and 2 + 0.5 GiB, in euros an hour.
    assert service.vcpus == 2
    assert 3600 * service.euros_per_instance_s == pytest.approx(3600 * 0.9 * (3 * 0.000018 + 2.5 * 0.000002))
