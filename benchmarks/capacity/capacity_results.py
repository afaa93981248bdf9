"""What the capacity benchmark measured and simulated: docs/capacity.json, which the page is drawn from."""

from pathlib import Path

import msgspec

from benchmarks.bench_results import Machine
from benchmarks.measurement import BenchError


class ClosedLoop(msgspec.Struct, frozen=True, kw_only=True):
    """The container under *clients* that each send the next photo when they have the last answer."""

    photos: str
    cores: int
    clients: int
    photos_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_photo: float  # of the server's processes
    client_cpu_ms_per_photo: float  # of the load generator, which runs on the same cores
    photos_per_batch: float


class OpenLoop(msgspec.Struct, frozen=True, kw_only=True):
    """The container under Poisson arrivals, the same in each round."""

    share: float  # of the capacity
    rate: float  # photos a second
    seconds: float  # of a round
    p50_ms: list[float]  # of each round
    p99_ms: list[float]
    errors: dict[str, int]  # of all rounds, by status


class ServiceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long a worker takes for a batch, by its size less one: equally likely durations of the handler."""

    busy_ms: list[list[float]]  # while another worker is busy
    idle_ms: list[list[float]]  # while the others are idle; a small batch then takes their cores, too
    gap_ms: float
    """Between two batches of a worker under full load, in which TorchServe sends answers and the next batch."""
    overhead_ms: list[float]
    """Equally likely times of a request outside the workers: reverse proxy, TorchServe, load generator."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    date: str
    machine: Machine
    other_cores: float  # how many cores other processes kept busy meanwhile: more than 0.1, and the figures say little
    workers: int
    batch_size: int
    batch_delay_ms: float
    queue_size: int
    photo_bytes: dict[str, int]
    start_s: list[float]  # from the start of the container's processes to the first right answer
    closed: list[ClosedLoop]
    open: list[OpenLoop]
    service: ServiceTimes


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """An open loop as the queueing model predicts it."""

    share: float
    p50_ms: float
    p99_ms: float


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """What a day costs with these settings, and what its requests see."""

    concurrency: int
    min_instances: int
    p99_ms: float
    slow_share: float  # of the answers, those that take longer than the objective
    rejected_share: float
    worst_p99_ms: float  # of five minutes
    mean_instances: float
    most_instances: int
    euros: float


class FiveMinutes(msgspec.Struct, frozen=True, kw_only=True):
    """A point of the day's plot."""

    hour: float
    photos_per_s: float
    instances: float
    p99_ms: float
    euros: float  # since midnight


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    closed_photos_per_s: dict[int, float]  # by clients
    open: list[Prediction]  # the measured loads, with the same arrivals
    curve: list[Prediction]  # loads for the plot, with other arrivals
    options: list[Option]
    recommended: Option
    day: list[FiveMinutes]  # with the recommended settings


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    measured: Measured
    simulated: Simulated


def read_results(path: Path) -> Capacity:
    """Return the results in *path*; raise `BenchError` if it cannot be read or has another shape."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Capacity)
    except (OSError, msgspec.DecodeError) as error:
        raise BenchError(f"{path} cannot be read as results: {error}; run make bench-capacity to write it") from error
