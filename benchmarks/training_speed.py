"""fruity's fine-tuning against timm's own loop: python -m benchmarks.training_speed DATA.

Interleaved rounds, each side in a process of its own. Writes train.md and train.json, and prints the first.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.console import Console
from rich.progress import track

from benchmarks.bench_report import format_spread, format_table
from benchmarks.bench_results import OUT, Machine, Spread, describe_machine, today, write_json, write_text
from serving.model_store import ROOT

RECIPE = (
    *("network=lite0", "recipe=finetune", "augment=light", "trainer=cpu", "tracker=none"),
    "trainer.precision=bf16-mixed",
    # The speed does not depend on the weights, and random ones need no download; timm's loop trains all norms.
    *("network.weights=random", "recipe.freeze_norms=false"),
)
"""What both sides train by: overrides of training.train."""

NUM_WARM_UP, NUM_TIMED = 2, 8
"""Batches; as many as training.profile takes."""

_EXIT_INTERRUPTED = 130


class TrainBenchError(Exception):
    """There are no photos, or one side could not train."""


class TrainRun(msgspec.Struct, frozen=True, kw_only=True):
    """Photos a second by round, of both, and the configuration that both train by."""

    date: str
    machine: Machine
    recipe: dict[str, Any]
    fruity: list[float]
    timm: list[float]


class Speed(msgspec.Struct, frozen=True):
    """What each side writes: the median seconds of a batch, and its photos."""

    wait_s: float
    step_s: float
    batch: int

    @property
    def photos_per_s(self) -> float:
        return self.batch / (self.wait_s + self.step_s)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="Measure fruity's fine-tuning against timm's own training loop.")
    parser.add_argument("data", type=Path, help="photos: a folder for each label, or a folder with labels.csv")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=5, help="default: 5")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="as trainer.precision=32-true")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: build/bench)")
    arguments = parser.parse_args()
    try:
        run = run_rounds(arguments.data, [*RECIPE, *arguments.set], arguments.rounds)
        report = format_report(run)
        write_json(arguments.out / "train.json", run)
        write_text(arguments.out / "train.md", report)
    except (TrainBenchError, OSError) as error:
        sys.exit(f"bench-train: {error}")
    except KeyboardInterrupt:
        Console(stderr=True).print("bench-train: stopped; nothing was written")
        sys.exit(_EXIT_INTERRUPTED)
    Console().print(report, markup=False, highlight=False, soft_wrap=True)


def run_rounds(data: Path, overrides: Sequence[str], rounds: int) -> TrainRun:
    """Return the speeds of both sides, which take turns in being first; raise `TrainBenchError`."""
    if not data.is_dir():
        raise TrainBenchError(f"{data} is not a folder; give photos, as in make bench-train DATA=photos")
    speeds: dict[str, list[float]] = {"fruity": [], "timm": []}
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
        config = Path(scratch, "config.yaml")
        # In quotes Hydra takes a path as it stands.
        overrides = [*overrides, f'data.source="{data.resolve()}"', f'data.cache="{scratch}"', f'logs="{scratch}"']
        config.write_text(_run("training.train", "--cfg", "job", "--resolve", *overrides))
        folder = link_by_label(data, Path(scratch) / "photos")
        for number in track(range(rounds), description="rounds", console=Console(stderr=True)):
            for side in sorted(speeds, reverse=bool(number % 2)):
                out = Path(scratch, side, "speed.json")
                if side == "fruity":
                    _run("training.profile", *overrides, f"id={side}")
                else:
                    _run("benchmarks.timm_loop", str(folder), "--config", str(config), "--out", str(out))
                speeds[side].append(msgspec.json.decode(out.read_bytes(), type=Speed).photos_per_s)
        return TrainRun(date=today(), machine=describe_machine(), recipe=yaml.safe_load(config.read_text()), **speeds)


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
        ["ratio of each round (target: at least 1)", format_spread(ratio, 3)],
    ]
    architecture, batch = run.recipe["network"]["architecture"], run.recipe["recipe"]["batch"]
    return (
        f"# Training speed, {run.date}\n\n{run.machine.cpu}, {run.machine.cores} cores. {architecture}, batches of "
        f"{batch}, {run.recipe['trainer']['precision']}; medians of {len(run.fruity)} interleaved rounds "
        f"(least to greatest), each the median of {NUM_TIMED} batches.\n\n{format_table(['', 'measured'], lines)}\n"
    )


def _run(module: str, *arguments: str) -> str:
    """Return what *module* prints; raise `TrainBenchError` with its last line, the error, if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise TrainBenchError(f"{module} could not train: {lines[-1].removeprefix('error: ')}")
    return done.stdout


if __name__ == "__main__":
    main()
