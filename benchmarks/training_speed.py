"""fruity's fine-tuning against timm's own loop: interleaved rounds, each side in a process of its own."""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import track

from benchmarks.bench_report import format_spread, format_table
from benchmarks.bench_results import OUT, BenchError, Spread, describe_machine, today, write_json
from serving.model_store import ROOT

# What both sides train by. Speed does not depend on the weights: random ones. timm's loop trains all norms.
RECIPE = (
    *("network=lite0", "recipe=finetune", "augment=light", "trainer=cpu", "tracker=none"),
    *("trainer.precision=bf16-mixed", "network.weights=random", "recipe.freeze_norms=false"),
)
# Batches; as many as training.profile takes.
NUM_WARM_UP, NUM_TIMED = 2, 8


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure fruity's fine-tuning against timm's own training loop.")
    parser.add_argument("data", type=Path, help="photos: a folder for each label, or a folder with labels.csv")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=5, help="default: 5")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="as trainer.precision=32-true")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: build/bench)")
    arguments = parser.parse_args()
    try:
        recipe, speeds = run_rounds(arguments.data, [*RECIPE, *arguments.set], arguments.rounds)
        figures = {"date": today(), "machine": describe_machine(), "recipe": recipe, **speeds}
        report = format_report(figures)
        write_json(arguments.out / "train.json", figures)
        (arguments.out / "train.md").write_text(report)
    except (BenchError, OSError) as error:
        sys.exit(f"bench-train: {error}")
    except KeyboardInterrupt:
        sys.exit("bench-train: stopped; nothing was written")
    print(report)


def run_rounds(data: Path, overrides: Sequence[str], rounds: int) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return fruity's configuration and both sides' photos a second, in turns of who is first; raise `BenchError`."""
    if not data.is_dir():
        raise BenchError(f"{data} is not a folder; give photos, as in make bench-train DATA=photos")
    speeds: dict[str, list[float]] = {"fruity": [], "timm": []}
    with tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
        config = Path(scratch, "config.yaml")
        # In quotes Hydra takes a path as it stands.
        overrides = [*overrides, f'data.source="{data.resolve()}"', f'data.cache="{scratch}"', f'logs="{scratch}"']
        config.write_text(_run("training.train", "--cfg", "job", "--resolve", *overrides))
        folder = link_by_label(data, Path(scratch, "photos"))
        commands = {
            "fruity": ("training.profile", *overrides, "id=fruity"),
            "timm": ("benchmarks.timm_loop", str(folder), str(config), f"{scratch}/timm"),
        }
        for number in track(range(rounds), "rounds", console=Console(stderr=True)):
            for side in sorted(commands, reverse=bool(number % 2)):
                _run(*commands[side])
                speed = json.loads(Path(scratch, side, "speed.json").read_text())
                speeds[side].append(speed["batch"] / (speed["wait_s"] + speed["step_s"]))
        return yaml.safe_load(config.read_text()), speeds


def link_by_label(data: Path, folder: Path) -> Path:
    """Return *data* as timm reads it, one folder a label: links in *folder* to what labels.csv has for training."""
    manifest = data / "labels.csv"
    if not manifest.exists():
        return data
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.DictReader(lines) if (row.get("split") or "train") == "train"]
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise BenchError(f"{manifest} needs the columns file and label, and rows whose split is train")
    for number, row in enumerate(rows):
        place = folder / row["label"].replace("/", "-") / f"{number}{Path(row['file']).suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((data / row["file"]).resolve())
    return folder


def format_report(figures: Mapping[str, Any]) -> str:
    """Return the ratio, with its spread, as Markdown."""
    ratios = (ours / theirs for ours, theirs in zip(figures["fruity"], figures["timm"], strict=True))
    lines = [
        ["fruity, photos/s", format_spread(Spread.of(figures["fruity"]))],
        ["timm's own loop, photos/s", format_spread(Spread.of(figures["timm"]))],
        ["ratio of each round (target: at least 1)", format_spread(Spread.of(ratios), 3)],
    ]
    machine, recipe = figures["machine"], figures["recipe"]
    return (
        f"# Training speed, {figures['date']}\n\n{machine.cpu}, {machine.cores} cores. "
        f"{recipe['network']['architecture']}, batches of {recipe['recipe']['batch']}, "
        f"{recipe['trainer']['precision']}; medians of {len(figures['fruity'])} interleaved rounds "
        f"(least to greatest), each the median of {NUM_TIMED} batches.\n\n{format_table(['', 'measured'], lines)}\n"
    )


def _run(module: str, *arguments: str) -> str:
    """Return what *module* prints; raise `BenchError` with its last line, the error, if it fails."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"it ended with code {done.returncode}"]
        raise BenchError(f"{module} could not train: {lines[-1].removeprefix('error: ')}")
    return done.stdout


if __name__ == "__main__":
    main()
