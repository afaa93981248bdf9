"""What the measured service times predict: open loops, and days of Cloud Run with several settings."""

import itertools
from collections.abc import Sequence
from statistics import median

import numpy as np

from benchmarks.capacity.capacity_results import ClosedLoop, FiveMinutes, Measured, Option, Prediction, Simulated
from benchmarks.capacity.cloud_run_model import Day, InstanceModel, simulate_day
from benchmarks.capacity.cloud_run_service import PLATFORM_START_S, CloudRunService
from benchmarks.capacity.container_rates import CLIENTS, FULL
from benchmarks.capacity.day_traffic import DAY_S, plan_day
from benchmarks.capacity.server_model import ServerSettings, simulate_closed, simulate_open
from benchmarks.load import plan_arrivals
from benchmarks.scenarios import MIDDLE

# The objectives of deploy/monitoring/rules.yaml: 99 % of the answers in half a second, 99.9 % of the requests answered.
OBJECTIVE_S, MOST_SLOW, MOST_REJECTED = 0.5, 0.01, 0.001
PRICE_TOLERANCE = 0.05
CONCURRENCIES, MIN_INSTANCES = (4, 8, 16, 32), (1, 2, 3, 4)
_SEEDS = range(5)
_CURVE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_INSTANCE_LOADS = (0.05, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_NUM_REQUESTS = 20_000
_QUANTILES = np.arange(0.5, 100)
_BINS = [slice(start, start + 300) for start in range(0, DAY_S, 300)]


def simulate(measured: Measured, service: CloudRunService) -> Simulated:
    server = _describe_server(measured)
    capacity = find_full_load(measured, MIDDLE).photos_per_s
    rates = plan_day(capacity)
    instances = [_describe_instance(measured, server, concurrency, service) for concurrency in CONCURRENCIES]
    start_s = median(measured.start_s) + PLATFORM_START_S
    days: list[tuple[Option, InstanceModel, Day]] = []
    for instance, min_instances in itertools.product(instances, MIN_INSTANCES):
        day = simulate_day(instance, rates, min_instances, service.max_instances, start_s)
        days.append((_summarize(instance, min_instances, day, service), instance, day))
    recommended = recommend([option for option, _, _ in days])
    return Simulated(
        closed_photos_per_s={clients: round(simulate_closed(server, clients, 60), 1) for clients in CLIENTS},
        open=[
            _predict(server, loop.share, [plan_arrivals(loop.rate, loop.seconds)] * len(_SEEDS))
            for loop in measured.open
        ],
        curve=[_predict(server, share, [_arrivals_s(share * capacity)]) for share in _CURVE],
        options=[option for option, _, _ in days],
        recommended=recommended,
        day=next(
            _describe_day(instance, day, rates, service) for option, instance, day in days if option == recommended
        ),
    )


def find_full_load(measured: Measured, photos: str) -> ClosedLoop:
    """Return the closed loop of the most clients on all cores."""
    return next(loop for loop in measured.closed if (loop.photos, loop.clients) == (photos, FULL))


def reaches_objectives(option: Option) -> bool:
    return option.slow_share <= MOST_SLOW and option.rejected_share <= MOST_REJECTED


def recommend(options: Sequence[Option]) -> Option:
    """Return the cheapest of *options* that reaches the objectives; of those at about its price the best in a burst.

    Without any it is the one with the fewest slow and rejected requests.
    """
    reached = [option for option in options if reaches_objectives(option)]
    if not reached:
        return min(options, key=lambda option: option.slow_share + option.rejected_share)
    most_euros = (1 + PRICE_TOLERANCE) * min(option.euros for option in reached)
    return min((option for option in reached if option.euros <= most_euros), key=lambda option: option.worst_p99_ms)


def _describe_server(measured: Measured) -> ServerSettings:
    service = measured.service
    return ServerSettings(
        workers=measured.workers,
        batch_size=measured.batch_size,
        batch_delay_s=measured.batch_delay_ms / 1000,
        busy_s=[[ms / 1000 for ms in same] for same in service.busy_ms],
        idle_s=[[ms / 1000 for ms in same] for same in service.idle_ms],
        gap_s=service.gap_ms / 1000,
        overhead_s=[ms / 1000 for ms in service.overhead_ms],
        queue_size=measured.queue_size,
    )


def _describe_instance(
    measured: Measured, server: ServerSettings, concurrency: int, service: CloudRunService
) -> InstanceModel:
    rate = simulate_closed(server, concurrency, 60)
    cpu_ms = find_full_load(measured, MIDDLE).cpu_ms_per_photo
    seen = [simulate_open(server, _arrivals_s(share * rate), concurrency) for share in _INSTANCE_LOADS]
    latencies_s = np.array([np.percentile(one, _QUANTILES) for one in seen])
    return InstanceModel(concurrency, rate, rate * cpu_ms / 1000 / service.vcpus, _INSTANCE_LOADS, latencies_s)


def _predict(server: ServerSettings, share: float, arrivals_s: Sequence[Sequence[float]]) -> Prediction:
    """Return the medians over simulations of *arrivals_s*, each with service times drawn otherwise."""
    seen = [simulate_open(server, same, seed=seed) for seed, same in enumerate(arrivals_s)]
    p50_ms, p99_ms = 1000 * np.median([np.percentile(one, [50, 99]) for one in seen], axis=0)
    return Prediction(share=share, p50_ms=round(float(p50_ms), 1), p99_ms=round(float(p99_ms), 1))


def _arrivals_s(rate: float) -> list[float]:
    return list(np.cumsum(np.random.default_rng(1).exponential(1 / rate, _NUM_REQUESTS)))


def _summarize(instance: InstanceModel, min_instances: int, day: Day, service: CloudRunService) -> Option:
    latencies_s, weights = day.latencies_s(instance, slice(None))
    return Option(
        concurrency=instance.concurrency,
        min_instances=min_instances,
        p99_ms=round(1000 * day.percentile_s(instance, 99), 1),
        slow_share=round(float(weights[latencies_s > OBJECTIVE_S].sum() / weights.sum()), 5),
        rejected_share=round(float(day.rejected.sum() / day.arrived.sum()), 5),
        worst_p99_ms=round(1000 * max(day.percentile_s(instance, 99, seconds) for seconds in _BINS), 1),
        mean_instances=round(float(day.billed.mean()), 2),
        most_instances=int(day.billed.max()),
        euros=round(float(day.billed.sum()) * service.euros_per_instance_s, 2),
    )


def _describe_day(instance: InstanceModel, day: Day, rates: np.ndarray, service: CloudRunService) -> list[FiveMinutes]:
    return [
        FiveMinutes(
            hour=round(seconds.start / 3600, 3),
            photos_per_s=round(float(rates[seconds].mean()), 1),
            instances=round(float(day.billed[seconds].mean()), 2),
            p99_ms=round(1000 * day.percentile_s(instance, 99, seconds), 1),
            euros=round(float(day.billed[: seconds.stop].sum()) * service.euros_per_instance_s, 2),
        )
        for seconds in _BINS
    ]
