"""Offline scoring on Ray against the same handler without it: python -m benchmarks.score_bench."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.score_runs import kill_often, run_score, write_repeated
from serving.model_store import ROOT, choose_archive

GROCERY = ROOT.parent / "shared" / "data" / "grocery"
_CEILING_S, _CEILING_PHOTOS = 12.0, 400
# A run is long beside what its first and its last part cost.
_RATE_PHOTOS = 4_000
_MAX_RUN_S = 1_800.0
_KILL_PHOTOS = 6_000
MEASURES = ("rate", "memory", "kills")


def main() -> None:
    parser = argparse.ArgumentParser(description="Offline scoring against the same handler without Ray.")
    parser.add_argument("--archive", type=Path, help="default: as make score chooses")
    parser.add_argument("--photos", type=Path, default=GROCERY, help="a folder of JPEGs (default: Grocery Store)")
    parser.add_argument("--rounds", type=int, default=3, help="of the rates, in turns (default: %(default)s)")
    parser.add_argument("--many", type=int, default=20_000, help="photos of the long run (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--only", choices=MEASURES, help="default: all")
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.rglob("*.jpg"))
    if not photos:
        sys.exit(f"bench-score: no JPEG below {arguments.photos}; name a folder with --photos")
    archive = arguments.archive or choose_archive()
    wanted = [arguments.only] if arguments.only else MEASURES
    with tempfile.TemporaryDirectory(prefix="fruity-bench-score-") as folder:
        scratch = Path(folder)
        print(f"{archive.name}, {len(photos):,} photos, {len(os.sched_getaffinity(0))} cores\n", flush=True)
        if "rate" in wanted:
            measure_rates(archive, photos, arguments.rounds, scratch)
        if "memory" in wanted:
            measure_memory(archive, photos, arguments.many, scratch)
        if "kills" in wanted:
            manifest = write_repeated(photos, _KILL_PHOTOS, scratch / "kills.csv")
            kills = kill_often(archive, manifest, scratch / "kills", arguments.kills, _MAX_RUN_S, seed=7)
            print(
                f"\nkilled {kills.kills} times: of {kills.num_photos:,} photos {kills.missing} are missing, "
                f"{kills.twice} are there twice"
            )


def measure_rates(archive: Path, photos: Sequence[Path], rounds: int, scratch: Path) -> None:
    """Print photos a second without Ray, and on Ray with one actor and with one for each core, in turns."""
    cores = len(os.sched_getaffinity(0))
    many = write_repeated(photos, _RATE_PHOTOS, scratch / "rate.csv")
    few = write_repeated(photos, _RATE_PHOTOS // cores, scratch / "few.csv")
    print("| round | no Ray, all cores | Ray, all cores | share | Ray, 1 actor | gain of all cores | start to end |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    shares, gains = [], []
    for number in range(rounds):
        ceiling = measure_ceiling(archive, photos, scratch)
        every = run_score(archive, many, scratch / f"every-{number}", cores, _MAX_RUN_S)
        one = run_score(archive, few, scratch / f"one-{number}", 1, _MAX_RUN_S)
        shares.append(every.photos_per_s / ceiling)
        gains.append(every.photos_per_s / one.photos_per_s)
        print(
            f"| {number + 1} | {ceiling:.1f} | {every.photos_per_s:.1f} | {shares[-1]:.2f} | {one.photos_per_s:.1f} | "
            f"{gains[-1]:.2f} | {every.wall_s:.0f} s for {every.num_photos:,} |",
            flush=True,
        )
    print(f"| median | | | {median(shares):.2f} | | {median(gains):.2f} | |", flush=True)


def measure_ceiling(archive: Path, photos: Sequence[Path], scratch: Path) -> float:
    """Return the photos a second of the archive's handler on all cores without Ray."""
    out = scratch / "ceiling.json"
    command = [sys.executable, "-m", "benchmarks.ceiling", "--archive", str(archive), "--seconds", str(_CEILING_S)]
    command += ["--out", str(out), *map(str, photos[:_CEILING_PHOTOS])]
    # As Ray sets it for an actor of one core; else the threads of matrix products wait for each other in loops.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return float(msgspec.json.decode(out.read_bytes())["photos_per_s"])


def measure_memory(archive: Path, photos: Sequence[Path], many: int, scratch: Path) -> None:
    """Print the largest memory of a run of 1,000 photos and of one of *many*."""
    print("\n| photos | memory of all processes (PSS) | photos/s | start to end |")
    print("| --- | --- | --- | --- |", flush=True)
    for count in (1_000, many):
        manifest = write_repeated(photos, count, scratch / f"{count}.csv")
        cores = len(os.sched_getaffinity(0))
        run = run_score(archive, manifest, scratch / str(count), cores, _MAX_RUN_S, with_memory=True)
        print(f"| {count:,} | {run.max_pss_mb:.0f} MB | {run.photos_per_s:.1f} | {run.wall_s:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
