"""What the cores give without a server: python -m benchmarks.ceiling --batch 4 photo.jpg …, in an unpacked archive.

One process a core, one thread each, photos from memory: decoded, preprocessed, run, labelled.
Prints one JSON object: photos a second of all processes, and the CPU milliseconds that a photo took.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.peers.same_engine import SameEngine

_loaded: tuple[SameEngine, Barrier]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the cores give without a server.")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1, help="photos a forward pass (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="default: %(default)s")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in arguments.photos]
    rates, cpu_ms = zip(*measure(photos, arguments.batch, arguments.seconds), strict=True)
    print(json.dumps({"photos_per_s": sum(rates), "cpu_ms_per_photo": sum(cpu_ms) / len(cpu_ms)}), flush=True)


def measure(photos: list[bytes], batch: int, seconds: float) -> list[tuple[float, float]]:
    """Return for each core's process its photos a second and the CPU milliseconds of a photo."""
    processes = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, load, (Path.cwd(), batch, barrier)) as pool:
        return pool.starmap(work, [(photos, batch, seconds)] * processes, chunksize=1)


def load(folder: Path, batch: int, barrier: Barrier) -> None:
    """Give this process the engine of the unpacked archive *folder*, for *batch* photos at once."""
    global _loaded  # how a pool hands a process what it loads once
    _loaded = SameEngine(folder, batch), barrier


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


if __name__ == "__main__":
    main()
