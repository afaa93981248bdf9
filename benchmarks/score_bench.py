"""Offline scoring on Ray against the same handler without it: python -m benchmarks.score_bench."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.grocery import GROCERY
from benchmarks.markdown_page import format_table
from benchmarks.measurement import BenchError, choose, measuring
from benchmarks.score_runs import kill_often, run_score, write_repeated
from serving.model_store import ROOT, choose_archive

_CEILING_S, _CEILING_PHOTOS = 12.0, 400
_ROUNDS, _KILLS = 3, 10
# Of each actor: a run is long beside what its first and its last part cost.
_RATE_PHOTOS = 2_000
_MAX_RUN_S = 1_800.0
_KILL_PHOTOS = 6_000


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


if __name__ == "__main__":
    main()
