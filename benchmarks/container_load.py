"""The container's processes under load: the reverse proxy's cost, killed workers, SIGTERM, idle connections."""

import os
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from rich.progress import track

from benchmarks.bench_results import OUT, write_json
from benchmarks.contenders import SERVE_PYTHON
from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import Sample, count_errors, run_closed, run_in_background
from benchmarks.measurement import measuring
from benchmarks.scenarios import MIDDLE, WARM_UP_CLIENTS, make_photos
from benchmarks.server_process import ServerProcess, free_ports, run_server, write_server_config
from serving.management import Management
from serving.model_store import ROOT
from serving.torchserve import MODEL, Addresses

_CLIENTS = 8
_START_S = 120.0
# What new connections get while the container drains, and after it has ended.
_REFUSED = ("503", "ClientConnectorError")


class Container(NamedTuple):
    """The supervisor with nginx and TorchServe, running."""

    server: ServerProcess
    management: Management
    proxy: Endpoint
    torchserve: Endpoint
    start_s: float
    run_folder: Path


def main() -> None:
    with measuring("bench-container"):
        figures = measure(SERVE_PYTHON)
    print(write_json(OUT / "container.json", figures))
    sys.exit(1 if any(figures[what]["failed"] for what in ("idle", "kills", "stops")) else 0)


def measure(python: Path, tries: int = 20, pairs: int = 5, idle: int = 10_000, seconds: float = 4) -> dict[str, Any]:
    """Return all figures; *tries* are of kills and SIGTERM, *pairs* of loads with and without the reverse proxy."""
    photo = make_photos()[MIDDLE][0]
    with run_container(python, photo) as container:

        def speed_of(endpoint: Endpoint) -> float:
            return run_closed(endpoint, [photo], WARM_UP_CLIENTS, seconds=seconds).photos_per_s

        speed_of(container.torchserve)
        costs = [
            1 - speed_of(container.proxy) / speed_of(container.torchserve)
            for _ in track(range(pairs), "With and without the reverse proxy")
        ]
        pss_mb = container.server.pss_mb()
        with (
            hold_connections(container, track([b""] * idle, "Idle connections")) as held,
            run_in_background(container.proxy, [photo], _CLIENTS) as beside_idle,
        ):
            time.sleep(seconds)
        beside_kills = _kill_workers(container, photo, tries)
    stops_s, at_stops = zip(*(_stop(python, photo) for _ in track(range(tries), "SIGTERM")), strict=True)
    stopped = count_failures([sample for samples in at_stops for sample in samples], _REFUSED)
    return {
        "start_s": round(container.start_s, 2),
        "pss_mb": round(pss_mb),
        "proxy_cost": {"median": round(statistics.median(costs), 3), "pairs": [round(cost, 3) for cost in costs]},
        "idle": {"connections": held["open"], **count_failures(beside_idle)},
        "kills": {"tries": tries, **count_failures(beside_kills)},
        "stops": {"tries": tries, **stopped, "longest_s": round(max(stops_s), 1)},
    }


@contextmanager
def run_container(python: Path, photo: Photo, prefix: Sequence[str] = (), **environment: str) -> Iterator[Container]:
    """Run supervisor, reverse proxy and TorchServe as the container does; the command *prefix* starts the first."""
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
        folder, (port, metrics_port) = Path(scratch), free_ports(2)
        config = write_server_config(ROOT / "config.properties", folder, {})
        command = [*prefix, str(python), "-m", "serving.container.supervisor", "--config", str(config)]
        proxy = Endpoint(f"http://127.0.0.1:{port}/predictions/{MODEL}")
        settings = {"PORT": str(port), "METRICS_PORT": str(metrics_port), "RUN_FOLDER": f"{folder}/run"}
        Path(settings["RUN_FOLDER"]).mkdir()
        with run_server(command, ROOT, {**settings, **environment}) as server:
            start_s = server.wait_for_answer(proxy, photo, _START_S)
            # A prefix may have given it a disk of its own.
            run_folder = Path(f"/proc/{server.process.pid}/root{folder}/run") if prefix else folder / "run"
            addresses = Addresses.read(run_folder / "config.properties")
            torchserve = Endpoint(f"{addresses.inference}/predictions/{MODEL}")
            with httpx.Client(base_url=addresses.management) as management:
                yield Container(server, Management(management), proxy, torchserve, start_s, run_folder)


def connect(container: Container, timeout_s: float) -> socket.socket:
    address = urlsplit(container.proxy.url)
    return socket.create_connection((address.hostname, address.port), timeout=timeout_s)


@contextmanager
def hold_connections(container: Container, parts: Iterable[bytes]) -> Iterator["Counter[str]"]:
    """Keep a connection for each of *parts*, which it has sent, while the block runs; yield how many are `open`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    answers = Counter[str]()
    with ExitStack() as stack:
        for part in parts:
            try:
                connection = stack.enter_context(connect(container, timeout_s=10))
                connection.sendall(part)
                answers["open"] += 1
            except OSError:
                answers["closed"] += 1
        yield answers


def _kill_workers(container: Container, photo: Photo, tries: int) -> Sequence[Sample]:
    """Kill a worker *tries* times, each time once all are READY and answering; return what clients saw."""
    with run_in_background(container.proxy, [photo], _CLIENTS) as samples:
        for number in track(range(tries), "Killed workers"):
            count = len(samples)
            while len(samples) < count + 4 * _CLIENTS or not container.management.describe().is_ready:
                time.sleep(0.1)
            workers = container.management.describe().workers
            os.kill(workers[number % len(workers)].pid, signal.SIGKILL)
    return samples


def _stop(python: Path, photo: Photo) -> tuple[float, Sequence[Sample]]:
    """Send SIGTERM under load; return the seconds until the container ended, and what clients saw."""
    with run_container(python, photo) as container, run_in_background(container.proxy, [photo], _CLIENTS) as samples:
        while len(samples) < 16 * _CLIENTS:
            time.sleep(0.05)
        started_s = time.perf_counter()
        container.server.process.terminate()
        container.server.wait_for_end(_START_S)
        return time.perf_counter() - started_s, samples


def count_failures(samples: Sequence[Sample], refused: Sequence[str] = ()) -> dict[str, Any]:
    """Return how many requests were answered and failed; those with an error of *refused* did neither."""
    failed = count_errors(sample for sample in samples if sample.error not in refused)
    answered = sum(not sample.error for sample in samples)
    return {"answered": answered, "failed": failed.total(), "failures": sorted(failed)}


if __name__ == "__main__":
    main()
