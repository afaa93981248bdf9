"""What the cores give without a server: one process a core with one thread each, in an unpacked archive.

With --archive it is that archive's own handler: nothing of ours may import `handler` before.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.peers.classifier import load_classifier
from scoring.archived_handler import ArchivedHandler

_loaded: tuple[Callable[[list[bytes]], object], int, Barrier]


def main() -> None:
    parser = argparse.ArgumentParser(description="What the cores give without a server.")
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--batch", type=int, default=1, help="photos a forward pass (default: %(default)s)")
    parser.add_argument("--way", choices=("same-engine", "eager"), default="same-engine", help="as the peers'")
    parser.add_argument("--archive", type=Path, help="ask its handler as make score does, in its own batches")
    parser.add_argument("--seconds", type=float, default=2.0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    arguments = parser.parse_args()
    photos = [path.read_bytes() for path in arguments.photos]
    processes = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    loaded = (arguments.way, arguments.batch, arguments.archive, context.Barrier(processes))
    with context.Pool(processes, load, loaded) as pool:
        work_of_each = [(photos, arguments.seconds)] * processes
        rates, cpu_ms = zip(*pool.starmap(work, work_of_each, chunksize=1), strict=True)
    arguments.out.write_text(json.dumps({"photos_per_s": sum(rates), "cpu_ms_per_photo": sum(cpu_ms) / processes}))


def load(way: str, batch: int, archive: Path | None, barrier: Barrier) -> None:
    """Load what classifies *batch* photos at once into this process."""
    global _loaded  # how a pool hands a process what it loads once
    if archive:
        handler = ArchivedHandler(archive.read_bytes(), None)
        _loaded = handler.answer, handler.batch, barrier
    else:
        _loaded = load_classifier(way, Path.cwd()).classify, batch, barrier


def work(photos: list[bytes], seconds: float) -> tuple[float, float]:
    """Return this process's photos a second and the CPU milliseconds of a photo, once all processes are ready."""
    classify, batch, barrier = _loaded
    supply = itertools.cycle(photos)
    classify([next(supply) for _ in range(batch)])
    barrier.wait()
    count, started_s, cpu_started_s = 0, time.perf_counter(), time.process_time()
    while (took_s := time.perf_counter() - started_s) < seconds:
        classify([next(supply) for _ in range(batch)])
        count += batch
    return count / took_s, (time.process_time() - cpu_started_s) * 1000 / count


if __name__ == "__main__":
    main()
