"""Runs of `make score` as processes: how fast, how much memory, and what is left after a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow.parquet as pq

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


class Kills(NamedTuple):
    kills: int
    missing: int
    twice: int
    num_photos: int


def write_repeated(photos: Sequence[Path], count: int, path: Path) -> Path:
    """Write a manifest of *count* rows, which names *photos* again and again; return it."""
    rows = (str(photos[number % len(photos)]) for number in range(count))
    path.write_text("file\n" + "".join(f'"{row}"\n' for row in rows))
    return path


def run_score(
    archive: Path, manifest: Path, destination: Path, num_actors: int, max_s: float, *, with_memory: bool = False
) -> ScoreRun:
    """Score *manifest* to the end; raise `TimeoutError` after *max_s*, `RuntimeError` if it fails.

    Memory is read only on demand: to sum up the pages of all processes takes time of the cores that are measured.
    """
    started_s, max_pss = time.monotonic(), 0
    with _started(archive, manifest, destination, num_actors) as process:
        while process.poll() is None:
            if time.monotonic() - started_s > max_s:
                raise TimeoutError(f"{manifest} was not scored in {max_s:.0f} s")
            if with_memory:
                max_pss = max(max_pss, sum(_read_pss(one) for one in _family(process.pid)))
            time.sleep(_SAMPLE_S)
        wall_s = time.monotonic() - started_s
        if process.returncode:
            raise RuntimeError(
                f"make score ended with {process.returncode}: {process.communicate()[1].decode()[-300:]}"
            )
    ended = sorted((path.stat().st_mtime, pq.read_metadata(path).num_rows) for path in destination.glob("part-*"))
    after_first = sum(rows for _, rows in ended[1:])
    rate = after_first / (ended[-1][0] - ended[0][0])
    return ScoreRun(ended[0][1] + after_first, wall_s, rate, max_pss / 2**20)


def kill_often(archive: Path, manifest: Path, destination: Path, kills: int, max_s: float, seed: int) -> Kills:
    """Kill a run *kills* times at random moments, start it again each time, and count its photos at the end.

    A moment is in the start or up to six seconds after the first new part.
    """
    moments = random.Random(seed)  # noqa: S311, not for secrets
    for _ in range(kills):
        before = len(list(destination.glob("part-*")))
        with _started(archive, manifest, destination, len(os.sched_getaffinity(0))) as process:
            if moments.random() < 0.8:
                _wait_for_parts(process, destination, before + 1, max_s)
            time.sleep(moments.uniform(0.0, 6.0))
    run = run_score(archive, manifest, destination, len(os.sched_getaffinity(0)), max_s)
    seen = Counter(index for path in destination.glob("part-*") for index in pq.read_table(path)["index"].to_pylist())
    listed = manifest.read_text().count("\n") - 1
    missing = listed - sum(index in seen for index in range(listed))
    return Kills(kills, missing, run.num_photos - len(seen), listed)


@contextmanager
def _started(archive: Path, manifest: Path, destination: Path, num_actors: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start `make score`; what of its processes still runs at the end of the block is killed at once."""
    command = [sys.executable, "-m", "scripts.score", str(manifest), str(destination), "--archive", str(archive)]
    command += ["--actors", str(num_actors)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            family = _family(process.pid)
            for one in family:
                one.send_signal(signal.SIGKILL)
            process.kill()
            psutil.wait_procs(family, timeout=30)


def _wait_for_parts(process: "subprocess.Popen[bytes]", destination: Path, count: int, max_s: float) -> None:
    deadline_s = time.monotonic() + max_s
    while len(list(destination.glob("part-*"))) < count and process.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _family(pid: int) -> list[psutil.Process]:
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _read_pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
