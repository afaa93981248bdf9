import math
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest

from benchmarks.capacity.server_model import ServerSettings, simulate_closed, simulate_open

MEAN_S = 0.01


def exponential_s() -> list[float]:
    """Return 1,000 equally likely durations of an exponential distribution with the mean of `MEAN_S`."""
    return [-MEAN_S * math.log(1 - (number + 0.5) / 1000) for number in range(1000)]


def make_settings(durations_s: list[float], workers: int = 1, queue_size: float = math.inf) -> ServerSettings:
    return ServerSettings(
        workers=workers,
        batch_size=1,
        batch_delay_s=0.0,
        busy_s=[durations_s],
        idle_s=[durations_s],
        queue_size=queue_size,
    )


def arrive(load: float, count: int = 30_000) -> list[float]:
    """Return Poisson arrivals that keep one worker busy for *load* of the time."""
    return list(np.cumsum(np.random.default_rng(4).exponential(MEAN_S / load, count)))


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_queue_with_exponential_service_has_the_mean_time_of_m_m_1(load: float) -> None:
    latencies_s = simulate_open(make_settings(exponential_s()), arrive(load))

    assert fmean(latencies_s) == pytest.approx(MEAN_S / (1 - load), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.6])
def test_a_queue_with_constant_service_has_the_mean_time_of_m_d_1(load: float) -> None:
    latencies_s = simulate_open(make_settings([MEAN_S]), arrive(load))

    assert fmean(latencies_s) == pytest.approx(MEAN_S * (1 + load / (2 * (1 - load))), rel=0.02)


@pytest.mark.slow
def test_two_workers_have_the_mean_time_of_m_m_2() -> None:
    latencies_s = simulate_open(make_settings(exponential_s(), workers=2), arrive(1.2))

    # Erlang C for two servers with utilization 0.6.
    assert fmean(latencies_s) == pytest.approx(MEAN_S / (1 - 0.6**2), rel=0.05)


def test_workers_take_full_batches_when_enough_requests_wait() -> None:
    settings = ServerSettings(
        workers=2, batch_size=4, batch_delay_s=0.001, busy_s=[[0.02]] * 4, idle_s=[[0.02]] * 4, overhead_s=[0.001]
    )

    # 16 clients always fill both batches, 8 wait for their answers meanwhile.
    assert simulate_closed(settings, clients=24, seconds=50) == pytest.approx(8 / 0.02, rel=0.01)


def test_a_worker_waits_for_a_batch_only_as_long_as_it_is_told() -> None:
    settings = ServerSettings(
        workers=1, batch_size=4, batch_delay_s=0.005, busy_s=[[1.0]] * 4, idle_s=[[1.0], [2.0], [3.0], [4.0]]
    )

    latencies_s = simulate_open(settings, [0.0, 0.004, 0.006])

    # The first two go together; the third comes too late, and waits for them and for others.
    assert latencies_s == pytest.approx([2.005, 2.001, 2.005 + 0.005 + 1.0 - 0.006])


def test_a_batch_beside_a_busy_worker_takes_its_other_time() -> None:
    settings = ServerSettings(workers=2, batch_size=1, batch_delay_s=0.0, busy_s=[[3.0]], idle_s=[[2.0]])

    assert simulate_open(settings, [0.0, 1.0]) == [2.0, 3.0]


def test_a_request_that_finds_a_full_queue_is_rejected() -> None:
    latencies_s = simulate_open(make_settings([10.0], queue_size=1), [0.0, 1.0, 2.0, 3.0])

    assert latencies_s == [10.0, 19.0]


def test_requests_over_the_concurrency_wait_before_the_server() -> None:
    settings = make_settings([1.0], workers=2)

    latencies_s = simulate_open(settings, [0.0, 0.0, 0.0], concurrency=1)

    assert latencies_s == [1.0, 2.0, 3.0]


def test_the_same_seed_gives_the_same_latencies_and_another_one_others() -> None:
    settings, arrivals_s = make_settings(exponential_s()), arrive(0.5, count=100)

    first, same, other = (simulate_open(settings, arrivals_s, seed=seed) for seed in (1, 1, 2))

    assert first == same
    assert first != other


def test_more_load_never_shortens_the_tail() -> None:
    tails_s = [
        float(np.percentile(simulate_open(make_settings([MEAN_S]), arrive(load, 5_000)), 99))
        for load in (0.2, 0.5, 0.8, 0.95)
    ]

    assert all(less < more for less, more in pairwise(tails_s))
