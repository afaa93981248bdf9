"""fruity's fine-tuning against timm's own loop: python -m benchmarks.train DATA.

Interleaved rounds, each side in a process of its own. Writes train.md and train.json, and prints the first.
"""

import argparse
import csv
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track

from benchmarks.contenders import ROOT
from benchmarks.report import format_spread, format_table
from benchmarks.results import Machine, Spread, describe_machine, today, write_text
from benchmarks.train_recipe import NUM_TIMED, Recipe

_EXIT_INTERRUPTED = 130
_SPEED = re.compile(r"waits (\d+) ms for the loader and takes (\d+) ms to learn from: ([\d.]+) photos/s")


class TrainBenchError(Exception):
    """There are no photos, or one side could not train."""


class TrainRun(msgspec.Struct, frozen=True, kw_only=True):
    """Photos a second by round, of both."""

    date: str
    machine: Machine
    recipe: dict[str, object]
    fruity: list[float]
    timm: list[float]


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="Measure fruity's fine-tuning against timm's own training loop.")
    parser.add_argument("data", type=Path, help="photos: a folder for each label, or a folder with labels.csv")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=5, help="default: 5")
    parser.add_argument("--recipe", default="{}", help="fields of benchmarks/train_recipe.py to change, as JSON")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", help="folder (default: build/bench)")
    arguments = parser.parse_args()
    try:
        run = run_rounds(arguments.data, parse_recipe(arguments.recipe), arguments.rounds)
        report = format_report(run)
        write_text(arguments.out / "train.json", msgspec.json.encode(run).decode() + "\n")
        write_text(arguments.out / "train.md", report)
    except (TrainBenchError, OSError) as error:
        sys.exit(f"bench-train: {error}")
    except KeyboardInterrupt:
        Console(stderr=True).print("bench-train: stopped; nothing was written")
        sys.exit(_EXIT_INTERRUPTED)
    Console().print(report, markup=False, highlight=False, soft_wrap=True)


def parse_recipe(text: str) -> Recipe:
    """Return the recipe with the fields of the JSON object *text*; raise `TrainBenchError`."""
    try:
        return Recipe(**json.loads(text))
    except (TypeError, ValueError) as error:
        names = ", ".join(field.name for field in dataclasses.fields(Recipe))
        raise TrainBenchError(f"--recipe is {text!r}, it must be a JSON object with fields of: {names}") from error


def run_rounds(data: Path, recipe: Recipe, rounds: int) -> TrainRun:
    """Return the speeds of both sides, which take turns in who comes first; raise `TrainBenchError`."""
    if not data.is_dir():
        raise TrainBenchError(f"{data} is no folder; give photos, as in make bench-train DATA=photos")
    speeds: dict[str, list[float]] = {"fruity": [], "timm": []}
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
        folder = link_by_label(data, Path(scratch) / "photos")
        for number in track(range(rounds), description="rounds", console=Console(stderr=True)):
            for side in sorted(speeds, reverse=bool(number % 2)):
                if side == "fruity":
                    speeds[side].append(_time_fruity(data, recipe, Path(scratch)))
                else:
                    speeds[side].append(_time_timm(folder, recipe))
    return TrainRun(date=today(), machine=describe_machine(), recipe=dataclasses.asdict(recipe), **speeds)


def link_by_label(data: Path, folder: Path) -> Path:
    """Return *data* as timm reads it, one folder a label: links in *folder* to what labels.csv has for training."""
    manifest = data / "labels.csv"
    if not manifest.exists():
        return data
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.DictReader(lines) if (row.get("split") or "train") == "train"]
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise TrainBenchError(f"{manifest} needs the columns file and label, and rows whose split is train")
    for number, row in enumerate(rows):
        place = folder / row["label"].replace("/", "-") / f"{number}{Path(row['file']).suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((data / row["file"]).resolve())
    return folder


def format_report(run: TrainRun) -> str:
    """Return the ratio, with its spread, as Markdown."""
    ratio = Spread.of(ours / theirs for ours, theirs in zip(run.fruity, run.timm, strict=True))
    lines = [
        ["fruity, photos/s", format_spread(Spread.of(run.fruity))],
        ["timm's own loop, photos/s", format_spread(Spread.of(run.timm))],
        ["ratio of each round (reach: at least 1)", format_spread(ratio, 3)],
    ]
    recipe = run.recipe
    return (
        f"# Training speed, {run.date}\n\n{run.machine.cpu}, {run.machine.cores} cores. {recipe['architecture']}, "
        f"batches of {recipe['batch']}, {recipe['precision']}; medians of {len(run.fruity)} interleaved rounds "
        f"(least to greatest), each the median of {NUM_TIMED} batches.\n\n{format_table(['', 'measured'], lines)}\n"
    )


def parse_speed(output: str) -> float:
    """Return the photos a second that training.profile printed; raise `TrainBenchError`."""
    found = _SPEED.search(" ".join(output.split()))
    if found is None:
        raise TrainBenchError(f"training.profile printed no speed: {output.strip()[-300:]}")
    return float(found.group(3))


def _time_fruity(data: Path, recipe: Recipe, scratch: Path) -> float:
    places = [
        # In quotes Hydra takes a path as it stands.
        f'data.source="{data.resolve()}"',
        f'data.cache="{scratch / "cache"}"',
        f'logs="{scratch / "logs"}"',
        "id=bench",
    ]
    return parse_speed(_run("training.profile", [*recipe.overrides(), *places]))


def _time_timm(folder: Path, recipe: Recipe) -> float:
    output = _run("benchmarks.timm_training", [str(folder), "--recipe", json.dumps(dataclasses.asdict(recipe))])
    times = json.loads(output.splitlines()[-1])
    return recipe.batch / float(times["wait_s"] + times["step_s"])


def _run(module: str, arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # Its warnings stand above the sentence that it ends with.
        said = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise TrainBenchError(f"{module} could not train: {said[-1].removeprefix('error: ')}")
    return done.stdout


if __name__ == "__main__":
    main()
