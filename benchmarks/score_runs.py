"""Runs of `make score` as processes: how fast, how much memory, and what is left after a kill."""

import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

from benchmarks.server_process import ServerProcess, run_server
from serving.model_store import ROOT

_SAMPLE_S = 1.0


class ScoreRun(NamedTuple):
    num_photos: int
    wall_s: float
    """With the start of Ray and of the actors."""
    photos_per_s: float
    """Between the first part and the last."""
    max_pss_mb: float
    """The largest sum of the proportional set sizes of all processes, Ray's own included; 0 if it was not read."""


def write_repeated(photos: Sequence[Path], count: int, path: Path) -> Path:
    """Write a manifest of *count* rows, which names *photos* again and again; return it."""
    rows = (str(photos[number % len(photos)]) for number in range(count))
    path.write_text("file\n" + "".join(f'"{row}"\n' for row in rows))
    return path


def run_score(
    archive: Path, manifest: Path, destination: Path, num_actors: int, max_s: float, *, with_memory: bool = False
) -> ScoreRun:
    """Score *manifest* to the end; raise `ServerError` if it fails or takes longer than *max_s*.

    Memory is read only on demand: to sum up the pages of all processes takes time of the cores that are measured.
    """
    max_pss_mb = 0.0
    with _started(archive, manifest, destination, num_actors) as score:
        while with_memory and score.process.poll() is None and time.perf_counter() < score.started_s + max_s:
            max_pss_mb = max(max_pss_mb, score.pss_mb())
            time.sleep(_SAMPLE_S)
        score.wait_for_end(max_s)
        wall_s = time.perf_counter() - score.started_s
    ended = sorted((path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in destination.glob("part-*"))
    after_first = sum(rows for _, rows in ended[1:])
    rate = after_first / (ended[-1][0] - ended[0][0])
    return ScoreRun(ended[0][1] + after_first, wall_s, rate, max_pss_mb)


def kill_often(
    archive: Path, manifest: Path, destination: Path, kills: int, max_s: float, seed: int
) -> tuple[int, int]:
    """Kill a run *kills* times at random moments, start it again each time, and let it end.

    Return how many photos are missing then, and how many are there twice. A moment is in the start or up to six seconds
    after the first new part.
    """
    moments = random.Random(seed)  # noqa: S311, not for secrets
    for _ in range(kills):
        before = len(list(destination.glob("part-*")))
        with _started(archive, manifest, destination, len(os.sched_getaffinity(0))) as score:
            if moments.random() < 0.8:
                _wait_for_parts(score, destination, before + 1, max_s)
            time.sleep(moments.uniform(0.0, 6.0))
            score.signal_all(signal.SIGKILL)
    run = run_score(archive, manifest, destination, len(os.sched_getaffinity(0)), max_s)
    seen = Counter(index for path in destination.glob("part-*") for index in pq.read_table(path)["index"].to_pylist())
    listed = manifest.read_text().count("\n") - 1
    missing = listed - sum(index in seen for index in range(listed))
    return missing, run.num_photos - len(seen)


def _started(
    archive: Path, manifest: Path, destination: Path, num_actors: int
) -> AbstractContextManager[ServerProcess]:
    command = [sys.executable, "-m", "scripts.score", str(manifest), str(destination), "--archive", str(archive)]
    return run_server([*command, "--actors", str(num_actors)], ROOT, {})


def _wait_for_parts(score: ServerProcess, destination: Path, count: int, max_s: float) -> None:
    end_s = time.perf_counter() + max_s
    while score.process.poll() is None and time.perf_counter() < end_s:
        if len(list(destination.glob("part-*"))) >= count:
            return
        time.sleep(0.05)
