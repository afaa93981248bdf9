"""The best settings for this machine: python -m benchmarks.tune [--archive build/fruity-1.1.0.mar].

Starts a real TorchServe with one setting after another, loads it, and writes the best one as a
model-config.yaml that `make serve` and `make archive` take up.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.contenders import ROOT
from benchmarks.entries import BenchError, default_archive, label_photos, unpack
from benchmarks.report import format_table
from benchmarks.results import describe_machine, today, write_text
from benchmarks.server import ServerError
from benchmarks.settings import Figures, Setting, SettingTrial, choose, vary
from benchmarks.wrk import WrkError
from handler.engine import EngineError
from handler.spec import SpecError

TEMPLATE = ROOT / "model_archive" / "model-config.yaml"


def main() -> None:
    """Search, write and print."""
    arguments = _parse_arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="fruity-tune-", ignore_cleanup_errors=True) as scratch:
            place = unpack(arguments.archive, Path(scratch) / "archive", arguments.serve_venv / "bin")
            trial = SettingTrial(place, label_photos(place.folder), TEMPLATE, arguments.seconds)
            measured = search(trial, arguments.rounds)
    except (BenchError, EngineError, SpecError, ServerError, WrkError, OSError) as error:
        sys.exit(f"tune: {error}")
    except KeyboardInterrupt:
        sys.exit("tune: stopped, the server too; nothing was written")
    best = choose(measured)
    write_text(arguments.out, format_config(best, measured[best], yaml.safe_load(TEMPLATE.read_text())))
    print_result(best, measured, arguments.out)


def search(trial: SettingTrial, rounds: int) -> dict[Setting, Figures]:
    """Return what every tried setting reached: from today's, one value after the other is varied and the best kept."""
    cores = len(os.sched_getaffinity(0))
    best = Setting.read(yaml.safe_load(TEMPLATE.read_text()), cores)
    measured: dict[Setting, Figures] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("")
        for name in ("batch", "delay_ms", "workers", "threads"):
            candidates = vary(best, name, cores)
            tries: dict[Setting, list[Figures]] = {setting: [] for setting in candidates}
            # Interleaved, so that a machine that slows down meanwhile slows all of them.
            for number in range(rounds):
                for setting in candidates:
                    progress.update(task, description=f"{name}, round {number + 1} of {rounds}: {setting}")
                    tries[setting].append(trial.measure(setting))
            compared = {setting: Figures.median(seen) for setting, seen in tries.items()}
            measured |= compared
            best = choose(compared)
    return measured


def format_config(best: Setting, figures: Figures, template: Mapping[str, Any]) -> str:
    """Return the *template* with the best setting as YAML, and where it comes from."""
    machine = describe_machine()
    head = (
        f"# Written by make tune on {today()}: {machine.cpu}, {machine.cores} cores.\n"
        f"# 16 clients {figures.photos_per_s:.0f} photos/s, one client p50 {figures.one_client_ms:.1f} ms.\n"
    )
    return head + yaml.safe_dump(best.apply(template), sort_keys=False)


def print_result(best: Setting, measured: Mapping[Setting, Figures], out: Path) -> None:
    """Print all settings, the fastest first, and the choice."""
    ordered = sorted(measured.items(), key=lambda item: -item[1].photos_per_s)
    lines = [
        [
            str(setting) + (" **chosen**" if setting == best else ""),
            f"{figures.photos_per_s:.0f}",
            f"{figures.p99_ms:.1f}",
            f"{figures.one_client_ms:.1f}",
        ]
        for setting, figures in ordered
    ]
    head = ["setting", "16 clients: photos/s", "p99 ms", "one client: p50 ms"]
    Console().print(format_table(head, lines), markup=False, highlight=False, soft_wrap=True)
    Console().print(
        f"written to {out}; take it up with\n  make serve MODEL_CONFIG={out}\n  make archive MODEL_CONFIG={out}",
        highlight=False,
        soft_wrap=True,
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Find the best settings for this machine.")
    parser.add_argument("--archive", type=Path, default=default_archive(), help="default: the one of the repository")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=2, help="default: 2")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load; default: 3")
    parser.add_argument("--out", type=Path, default=Path("build/tune/model-config.yaml"), help="default: %(default)s")
    serve_venv = Path(sys.executable).parent.parent / "serve"
    parser.add_argument("--serve-venv", type=Path, default=serve_venv, help="what `make serve` installs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
