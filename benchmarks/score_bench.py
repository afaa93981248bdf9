"""Offline scoring on Ray against the same handler without it: python -m benchmarks.score_bench."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import pyarrow.parquet as pq

from benchmarks.grocery import GROCERY
from benchmarks.markdown_page import format_table
from benchmarks.measurement import BenchError, choose, measuring
from benchmarks.server_process import ServerProcess, run_server
from serving.model_store import ROOT, choose_archive

_CEILING_S, _CEILING_PHOTOS = 12.0, 400
_ROUNDS, _KILLS = 3, 10
# Of each actor: a run is long beside what its first and its last part cost.
_RATE_PHOTOS = 2_000
_MAX_RUN_S = 1_800.0
_KILL_PHOTOS = 6_000
_SAMPLE_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Offline scoring against the same handler without Ray.")
    parser.add_argument("--archive", type=Path, help="default: as make score chooses")
    parser.add_argument("--photos", type=Path, default=GROCERY, help="a folder of JPEGs (default: Grocery Store)")
    parser.add_argument("--many", type=int, default=20_000, help="photos of the long run (default: %(default)s)")
    parser.add_argument("--only", default="", help="rate, memory or kills (default: all)")
    given = parser.parse_args()
    with measuring("bench-score"), tempfile.TemporaryDirectory(prefix="fruity-bench-score-") as folder:
        photos = sorted(given.photos.rglob("*.jpg"))
        if not photos:
            raise BenchError(f"no JPEG below {given.photos}; name a folder with --photos")
        archive, scratch = given.archive or choose_archive(), Path(folder)
        print(f"{archive.name}, {len(photos):,} photos, {len(os.sched_getaffinity(0))} cores", flush=True)
        measures: dict[str, Callable[[Path, Sequence[Path], Path], str]] = {
            "rate": measure_rates,
            "memory": partial(measure_memory, given.many),
            "kills": measure_kills,
        }
        for name in choose(list(measures), given.only, str):
            print(f"\n{measures[name](archive, photos, scratch)}", flush=True)


def measure_rates(archive: Path, photos: Sequence[Path], scratch: Path) -> str:
    """Return a table: photos a second without Ray, and on Ray with one actor and with one for each core, in turns."""
    cores = len(os.sched_getaffinity(0))
    many = write_repeated(photos, cores * _RATE_PHOTOS, scratch / "many.csv")
    few = write_repeated(photos, _RATE_PHOTOS, scratch / "few.csv")
    shares, gains, rows = [], [], []
    for number in range(1, _ROUNDS + 1):
        ceiling = measure_ceiling(archive, photos, scratch)
        every = run_score(archive, many, scratch / f"every-{number}", cores, _MAX_RUN_S)
        one = run_score(archive, few, scratch / f"one-{number}", 1, _MAX_RUN_S)
        shares.append(every.photos_per_s / ceiling)
        gains.append(every.photos_per_s / one.photos_per_s)
        rates = [f"{rate:.1f}" for rate in (ceiling, every.photos_per_s, one.photos_per_s)]
        took = f"{every.wall_s:.0f} s for {every.num_photos:,}"
        rows.append((number, *rates, f"{shares[-1]:.2f}", f"{gains[-1]:.2f}", took))
    rows.append(("median", "", "", "", f"{median(shares):.2f}", f"{median(gains):.2f}", ""))
    head = ("round", "no Ray, all cores", "Ray, all cores", "Ray, 1 actor", "share of no Ray", "gain of all cores")
    return format_table([*head, "start to end"], rows)


def measure_ceiling(archive: Path, photos: Sequence[Path], scratch: Path) -> float:
    """Return the photos a second of the archive's handler on all cores without Ray."""
    out = scratch / "ceiling.json"
    command = [sys.executable, "-m", "benchmarks.ceiling", "--archive", str(archive), "--seconds", str(_CEILING_S)]
    command += ["--out", str(out), *map(str, photos[:_CEILING_PHOTOS])]
    # As Ray sets it for an actor of one core; else the threads of matrix products wait for each other in loops.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return float(msgspec.json.decode(out.read_bytes())["photos_per_s"])


def measure_memory(many: int, archive: Path, photos: Sequence[Path], scratch: Path) -> str:
    """Return a table: the largest memory of a run of 1,000 photos and of one of *many*."""
    cores, rows = len(os.sched_getaffinity(0)), []
    for count in (1_000, many):
        manifest = write_repeated(photos, count, scratch / f"{count}.csv")
        run = run_score(archive, manifest, scratch / str(count), cores, _MAX_RUN_S, with_memory=True)
        rows.append((f"{count:,}", f"{run.max_pss_mb:.0f} MB", f"{run.photos_per_s:.1f}", f"{run.wall_s:.0f} s"))
    return format_table(("photos", "memory of all processes (PSS)", "photos/s", "start to end"), rows)


def measure_kills(archive: Path, photos: Sequence[Path], scratch: Path) -> str:
    """Return what is missing, or there twice, after a run was killed again and again."""
    manifest = write_repeated(photos, _KILL_PHOTOS, scratch / "kills.csv")
    missing, twice = kill_often(archive, manifest, scratch / "kills", _KILLS, _MAX_RUN_S, seed=7)
    return f"killed {_KILLS} times: of {_KILL_PHOTOS:,} photos {missing} are missing, {twice} are there twice"


class ScoreRun(NamedTuple):
    num_photos: int
    wall_s: float  # with the start of Ray and of the actors
    photos_per_s: float  # between the first part and the last
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
    """Score *manifest* to the end; raise `ServerError` after *max_s*. Reading memory takes time of the same cores."""
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
    """Kill a run *kills* times at random moments and let it end; return how many photos are missing and twice."""
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


if __name__ == "__main__":
    main()
