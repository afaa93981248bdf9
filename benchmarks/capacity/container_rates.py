"""The container's rates: closed loops by clients and cores, open loops by load, starts, and its service times."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np
import psutil
import yaml
from rich.progress import Progress
from ts.model_server import load_properties

from benchmarks.bench_results import describe_machine
from benchmarks.capacity.capacity_results import ClosedLoop, Measured, OpenLoop
from benchmarks.capacity.service_times import (
    TimedAnswer,
    TimedLoad,
    find_batches,
    find_service_times,
    read_timings,
    run_timed,
)
from benchmarks.container_load import Container, run_container
from benchmarks.endpoint import Photo
from benchmarks.load import Load, run_open
from benchmarks.measurement import BenchError
from benchmarks.scenarios import MIDDLE, PHONE, WARM_UP_CLIENTS, make_photos
from benchmarks.server_process import on_cores
from serving.model_store import CONFIG_NAME, ROOT

CLIENTS = (1, 2, 4, 8, 16)
FULL = max(CLIENTS)
SHARES = (0.3, 0.5, 0.7, 0.8, 0.9)
DURATIONS_SHARE = 0.6
"""Of the capacity, in the open loop that the durations of batches come from; no other one has this share."""
_DRAIN_S = 5.0


@dataclass(frozen=True)
class MeasuringPlan:
    rounds: int = 3
    starts: int = 3
    warm_up_s: float = 6.0
    closed_s: float = 3.0
    durations_s: float = 20.0
    open_s: float = 20.0


@dataclass
class _Rounds:
    closed: dict[int, list[TimedLoad]] = field(default_factory=lambda: defaultdict(list))
    """By clients, a load of each round."""
    open: dict[float, list[Load]] = field(default_factory=lambda: defaultdict(list))
    """The same, by share of the capacity."""
    durations: list[list[TimedAnswer]] = field(default_factory=list)
    """Of each round, the answers of the open loop that the durations of batches come from."""

    @property
    def capacity(self) -> float:
        """Photos a second at the most clients, in the first round, so that all rounds have the same open loops."""
        first = self.closed[FULL][0]
        return len(first.answers) / first.seconds


def measure(python: Path, plan: MeasuringPlan) -> Measured:
    """Return what is measured on containers' processes that *python* runs; raise `BenchError`."""
    photos, machine, rounds = make_photos(), describe_machine(), _Rounds()
    middle = photos[MIDDLE]
    with run_container(python, middle[0]) as container:
        run_timed(container, middle, WARM_UP_CLIENTS, plan.warm_up_s)
        before_s, started_s = _other_cpu_s(container), time.perf_counter()
        _run_rounds(container, middle, plan, rounds)
        other_cores = (_other_cpu_s(container) - before_s) / (time.perf_counter() - started_s)
        phone = run_timed(container, photos[PHONE], FULL, plan.closed_s)
    starts_s = [container.start_s]
    for _ in range(plan.starts - 1):
        with run_container(python, middle[0]) as container:
            starts_s.append(container.start_s)
    with on_cores(1), run_container(python, middle[0]) as container:
        run_timed(container, middle, WARM_UP_CLIENTS, plan.warm_up_s)
        one_core = run_timed(container, middle, FULL, plan.closed_s)
    config = yaml.safe_load((ROOT / "model_archive" / CONFIG_NAME).read_text())
    batching = config["batchSize"], config["minWorkers"], config["maxBatchDelay"]
    return Measured(
        date=datetime.now(UTC).date().isoformat(),
        machine=machine,
        other_cores=round(other_cores, 2),
        batch_size=batching[0],
        workers=batching[1],
        batch_delay_ms=batching[2],
        queue_size=int(load_properties(str(ROOT / "config.properties"))["job_queue_size"]),
        photo_bytes={size: round(fmean(len(photo.body) for photo in same)) for size, same in photos.items()},
        start_s=[round(start_s, 2) for start_s in starts_s],
        closed=[
            *(_summarize(MIDDLE, machine.cores, clients, rounds.closed[clients]) for clients in CLIENTS),
            _summarize(PHONE, machine.cores, FULL, [phone]),
            _summarize(MIDDLE, 1, FULL, [one_core]),
        ],
        open=[_describe_open(share, rounds, plan) for share in SHARES],
        service=find_service_times(rounds.durations, rounds.closed, *batching),
    )


def _run_rounds(container: Container, photos: Sequence[Photo], plan: MeasuringPlan, rounds: _Rounds) -> None:
    """Run each load once a round, so that a machine that slows down does so for all of them."""
    with Progress() as progress:
        task = progress.add_task("Loads", total=plan.rounds * (len(CLIENTS) + 1 + len(SHARES)))
        for _ in range(plan.rounds):
            for clients in CLIENTS:
                rounds.closed[clients].append(run_timed(container, photos, clients, plan.closed_s))
                progress.advance(task)
            load = run_open(container.proxy, photos, DURATIONS_SHARE * rounds.capacity, plan.durations_s)
            # Other work may have filled the queue for a moment; that says nothing of how long a batch takes.
            rounds.durations.append(read_timings(sample for sample in load.samples if sample.error != "503"))
            progress.advance(task)
            for share in SHARES:
                container.server.wait_until_idle(_DRAIN_S)
                load = run_open(container.proxy, photos, share * rounds.capacity, plan.open_s)
                if not load.latencies_ms:
                    raise BenchError(f"no request of an open loop was answered, the errors are {dict(load.errors)}")
                rounds.open[share].append(load)
                progress.advance(task)


def _summarize(photos: str, cores: int, clients: int, loads: Sequence[TimedLoad]) -> ClosedLoop:
    answers = [answer for load in loads for answer in load.answers]
    batches = [batch for load in loads for batch in find_batches(load.answers)]
    p50_ms, p99_ms = np.percentile([answer.latency_ms for answer in answers], [50, 99])
    return ClosedLoop(
        photos=photos,
        cores=cores,
        clients=clients,
        photos_per_s=round(len(answers) / sum(load.seconds for load in loads), 1),
        p50_ms=round(float(p50_ms), 1),
        p99_ms=round(float(p99_ms), 1),
        cpu_ms_per_photo=round(1000 * sum(load.server_cpu_s for load in loads) / len(answers), 2),
        client_cpu_ms_per_photo=round(1000 * sum(load.client_cpu_s for load in loads) / len(answers), 2),
        photos_per_batch=round(len(answers) / len(batches), 2),
    )


def _describe_open(share: float, rounds: _Rounds, plan: MeasuringPlan) -> OpenLoop:
    loads = rounds.open[share]
    percentiles_ms = np.round([np.percentile(load.latencies_ms, [50, 99]) for load in loads], 1)
    return OpenLoop(
        share=share,
        rate=round(share * rounds.capacity, 3),
        seconds=plan.open_s,
        p50_ms=percentiles_ms[:, 0].tolist(),
        p99_ms=percentiles_ms[:, 1].tolist(),
        errors=dict(sum((load.errors for load in loads), Counter[str]())),
    )


def _other_cpu_s(container: Container) -> float:
    """Return the CPU seconds of all processes but this one and the container's."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system) - container.server.cpu_s() - time.process_time()
