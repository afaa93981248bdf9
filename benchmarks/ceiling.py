"""What the cores give without a server: python -m benchmarks.ceiling --out FILE photo.jpg …, in an unpacked archive.

One process a core with one thread each classifies photos from memory. Writes photos a second of all processes
and the CPU milliseconds of a photo as JSON.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Protocol

from benchmarks.peers.same_engine import SameEngine


class _Classifier(Protocol):
    def classify(self, photos: list[bytes]) -> object: ...


_loaded: tuple[_Classifier, Barrier]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="What the cores give without a server.")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1, help="photos a forward pass (default: %(default)s)")
    parser.add_argument("--eager", action="store_true", help="run eager PyTorch, as the peers in their usual way")
    parser.add_argument("--seconds", type=float, default=2.0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in arguments.photos]
    rates, cpu_ms = zip(*measure(photos, arguments.batch, arguments.eager, arguments.seconds), strict=True)
    arguments.out.write_text(json.dumps({"photos_per_s": sum(rates), "cpu_ms_per_photo": sum(cpu_ms) / len(cpu_ms)}))


def measure(photos: list[bytes], batch: int, eager: bool, seconds: float) -> list[tuple[float, float]]:
    """Return for each core's process its photos a second and the CPU milliseconds of a photo."""
    processes = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, load, (Path.cwd(), batch, eager, barrier)) as pool:
        return pool.starmap(work, [(photos, batch, seconds)] * processes, chunksize=1)


def load(folder: Path, batch: int, eager: bool, barrier: Barrier) -> None:
    """Load the engine of the unpacked archive *folder* into this process, for *batch* photos at once."""
    global _loaded  # how a pool hands a process what it loads once
    _loaded = _load_eager(folder) if eager else SameEngine(folder, batch), barrier


def work(photos: list[bytes], batch: int, seconds: float) -> tuple[float, float]:
    """Return this process's photos a second and the CPU milliseconds of a photo, once all processes are ready."""
    engine, barrier = _loaded
    supply = itertools.cycle(photos)
    engine.classify([next(supply) for _ in range(batch)])
    barrier.wait()
    count, started_s, cpu_started_s = 0, time.perf_counter(), time.process_time()
    while (took_s := time.perf_counter() - started_s) < seconds:
        engine.classify([next(supply) for _ in range(batch)])
        count += batch
    return count / took_s, (time.process_time() - cpu_started_s) * 1000 / count


def _load_eager(folder: Path) -> _Classifier:
    # Imports torch and timm, which the other ceilings must not hold.
    from benchmarks.peers.eager_model import EagerClassifier

    return EagerClassifier(folder)


if __name__ == "__main__":
    main()
