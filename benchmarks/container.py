"""The container's processes under load, outside of a container: python -m benchmarks.container --tries 20.

What the front costs, what clients notice of workers that die, of SIGTERM and of idle connections. Prints the figures
and writes them as JSON; exits with 1 if a request was lost.
"""

import argparse
import json
import os
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.progress import track

from benchmarks.contenders import ROOT
from benchmarks.load import run_closed
from benchmarks.photos import MIDDLE, make_photos
from benchmarks.plan import WARM_UP_CLIENTS
from benchmarks.rollout import Sample, ask_in_loops
from benchmarks.server import Server, free_ports
from benchmarks.torchserve import read_config, write_config
from benchmarks.wire import Photo, Target

_CLIENTS = 8
_START_S = 120.0
_PAIR_S = 4
_IDLE_S = 5
# What a client gets that comes new while the container drains, and after it is gone: nothing was accepted.
_REFUSED = ("503", "ConnectError")


@dataclass(frozen=True)
class Container:
    server: Server
    management: str
    front: str
    """Where the front takes photos."""
    behind: str
    """Where TorchServe does."""
    start_s: float

    def workers(self) -> list[int]:
        """Return the processes of the workers that are READY."""
        described = httpx.get(f"{self.management}/models/fruity").json()
        return [worker["pid"] for worker in described[0]["workers"] if worker["status"] == "READY"]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Measure the container's processes under load.")
    parser.add_argument("--tries", type=int, default=20, help="of kills, and of SIGTERM (default: 20)")
    parser.add_argument("--pairs", type=int, default=5, help="of loads with and without the front (default: 5)")
    parser.add_argument("--idle", type=int, default=10_000, help="connections (default: 10,000)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder (default: %(default)s)")
    serve_venv = Path(sys.executable).parent.parent / "serve"
    parser.add_argument("--serve-venv", type=Path, default=serve_venv, help="what `make serve` installs")
    arguments = parser.parse_args()
    figures = measure(arguments.serve_venv / "bin" / "python", arguments.tries, arguments.pairs, arguments.idle)
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1)
    (arguments.out / "container.json").write_text(text + "\n")
    print(text)
    sys.exit(1 if any(figures[what]["failed"] for what in ("idle", "kills", "stops")) else 0)


def measure(python: Path, tries: int, pairs: int, idle: int) -> dict[str, Any]:
    """Return all figures; *python* runs the supervisor, in an environment as the image's."""
    photo = make_photos()[MIDDLE][0]
    with run_container(python, photo) as container:
        loads = [Target(url) for url in (container.behind, container.front)]
        run_closed(loads[0], [photo], WARM_UP_CLIENTS, _PAIR_S)
        speeds = [
            [run_closed(target, [photo], WARM_UP_CLIENTS, _PAIR_S).photos_per_s for target in loads]
            for _ in track(range(pairs), "With and without the front")
        ]
        pss_mb = container.server.pss_mb()
        waited = _wait_beside(container, photo.body, idle)
        killed = _kill_workers(container, photo.body, tries)
    costs = [1 - front / behind for behind, front in speeds]
    stops = [_stop(python, photo) for _ in track(range(tries), "SIGTERM")]
    return {
        "start_s": round(container.start_s, 2),
        "pss_mb": round(pss_mb),
        "front_cost": {"median": round(statistics.median(costs), 3), "pairs": [round(cost, 3) for cost in costs]},
        "idle": {"connections": idle, **count_failures(waited)},
        "kills": {"tries": tries, **count_failures(killed)},
        "stops": {
            "tries": tries,
            **count_failures([sample for _, samples in stops for sample in samples], _REFUSED),
            "longest_s": round(max(seconds for seconds, _ in stops), 1),
        },
    }


@contextmanager
def run_container(python: Path, photo: Photo) -> Iterator[Container]:
    """Run supervisor, front and TorchServe as the container does, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
        folder = Path(scratch)
        config, behind = write_config(ROOT / "config.properties", folder, {})
        port = free_ports(1)[0]
        command = [str(python), "-m", "serving.container.supervisor", "--config", str(config)]
        environment = {"PORT": str(port), "RUN_FOLDER": str(folder / "run")}
        front = f"http://127.0.0.1:{port}/predictions/fruity"
        with Server(command, ROOT, environment) as server:
            start_s = server.wait_for_answer(Target(front), photo, _START_S)
            management = read_config(folder / "run" / "config.properties")["management_address"]
            yield Container(server, management, front, f"{behind}/predictions/fruity", start_s)


def _wait_beside(container: Container, photo: bytes, idle: int) -> Sequence[Sample]:
    """Ask while *idle* connections say nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    url = httpx.URL(container.front)
    with ExitStack() as stack:
        for _ in track(range(idle), "Idle connections"):
            stack.enter_context(socket.create_connection((url.host, url.port), timeout=10))
        with ask_in_loops(container.front, photo, _CLIENTS) as samples:
            time.sleep(_IDLE_S)
    return samples


def _kill_workers(container: Container, photo: bytes, tries: int) -> Sequence[Sample]:
    """Kill a worker, again and again, each time that all are READY and answering."""
    all_workers = len(container.workers())
    with ask_in_loops(container.front, photo, _CLIENTS) as samples:
        for number in track(range(tries), "Killed workers"):
            count = len(samples)
            while len(samples) < count + 4 * _CLIENTS or len(container.workers()) < all_workers:
                time.sleep(0.1)
            os.kill(container.workers()[number % all_workers], signal.SIGKILL)
    return samples


def _stop(python: Path, photo: Photo) -> tuple[float, Sequence[Sample]]:
    """Send SIGTERM under load; return how long the end took, and what clients saw."""
    with run_container(python, photo) as container, ask_in_loops(container.front, photo.body, _CLIENTS) as samples:
        while len(samples) < 16 * _CLIENTS:
            time.sleep(0.05)
        started = time.monotonic()
        container.server.terminate()
        container.server.wait_for_end(_START_S)
        return time.monotonic() - started, samples


def count_failures(samples: Sequence[Sample], refused: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return how many requests were answered and failed; those whose failure begins as one of *refused* did neither."""
    failures = [sample.failure for sample in samples if sample.version is None]
    failures = [failure for failure in failures if not (refused and failure.startswith(refused))]
    answered = sum(sample.version is not None for sample in samples)
    return {"answered": answered, "failed": len(failures), "failures": sorted(set(failures))[:10]}


if __name__ == "__main__":
    main()
