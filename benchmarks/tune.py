"""The best settings for this machine: python -m benchmarks.tune [--archive build/fruity-1.1.0.mar].

Starts a real TorchServe with one setting after another, loads it, and writes the best one as a
model-config.yaml that `make serve` and `make archive` take up.
"""

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks.contenders import ROOT
from benchmarks.entries import BenchError, default_archive, label_photos, unpack
from benchmarks.report import NONE, format_table
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
            cores = len(os.sched_getaffinity(0))
            template = yaml.safe_load(TEMPLATE.read_text())
            found = search(trial, Setting.read(template, cores), cores, arguments.rounds)
    except (BenchError, EngineError, SpecError, ServerError, WrkError, OSError) as error:
        sys.exit(f"tune: {error}")
    except KeyboardInterrupt:
        sys.exit("tune: stopped, the server too; nothing was written")
    write_text(arguments.out, format_config(found.best, found.finals[found.best], template))
    print_result(found, arguments.out)


class Trial(Protocol):
    def measure(self, setting: Setting) -> Figures: ...


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    best: Setting
    finals: Mapping[Setting, Figures]
    """Measured side by side at the end: what the search began with, and the best of each phase."""
    measured: Mapping[Setting, Figures]
    """Everything that was tried, medians over all of its tries; of different times, so that they compare roughly."""


def search(trial: Trial, first: Setting, cores: int, rounds: int) -> Found:
    """Vary one value after the other, from *first* on, keep the best, and choose from these in a last comparison."""
    tries: dict[Setting, list[Figures]] = {}
    # A dict for its order and its keys: what stays the best through two phases is one finalist.
    finalists = {first: None}
    best = first
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("")

        def compare(phase: str, settings: Iterable[Setting]) -> dict[Setting, Figures]:
            seen: dict[Setting, list[Figures]] = {setting: [] for setting in settings}
            # Interleaved, so that a machine that slows down meanwhile slows all of them.
            for number in range(rounds):
                for setting in seen:
                    progress.update(task, description=f"{phase}, round {number + 1} of {rounds}: {setting}")
                    seen[setting].append(trial.measure(setting))
            for setting, figures in seen.items():
                tries.setdefault(setting, []).extend(figures)
            return {setting: Figures.median(figures) for setting, figures in seen.items()}

        for name in ("batch", "delay_ms", "workers", "threads"):
            best = choose(compare(name, vary(best, name, cores)))
            finalists[best] = None
        finals = compare("final", finalists)
    measured = {setting: Figures.median(figures) for setting, figures in tries.items()}
    return Found(choose(finals), finals, measured)


def format_config(best: Setting, figures: Figures, template: Mapping[str, Any]) -> str:
    """Return the *template* with the best setting as YAML, and where it comes from."""
    machine = describe_machine()
    head = (
        f"# Written by make tune on {today()}: {machine.cpu}, {machine.cores} cores.\n"
        f"# 16 clients {figures.photos_per_s:.0f} photos/s, one client p50 {figures.one_client_ms:.1f} ms.\n"
    )
    return head + yaml.safe_dump(best.apply(template), sort_keys=False)


def print_result(found: Found, out: Path) -> None:
    """Print all settings, the finalists among themselves, and the choice."""
    console = Console()
    parts = (("Everything that was tried", found.measured), ("Side by side at the end", found.finals))
    for title, settings in parts:
        console.print(
            f"{title}\n\n{format_settings(settings, found.best)}\n", markup=False, highlight=False, soft_wrap=True
        )
    console.print(
        f"written to {out}; take it up with\n  make serve MODEL_CONFIG={out}\n  make archive MODEL_CONFIG={out}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def format_settings(settings: Mapping[Setting, Figures], best: Setting) -> str:
    """Return a Markdown table of *settings*, the fastest first."""
    lines = [
        [
            str(setting) + (" **chosen**" if setting == best else ""),
            f"{figures.photos_per_s:.0f}",
            NONE if math.isnan(figures.p99_ms) else f"{figures.p99_ms:.1f}",
            f"{figures.one_client_ms:.1f}",
        ]
        for setting, figures in sorted(settings.items(), key=lambda item: -item[1].photos_per_s)
    ]
    return format_table(["setting", "16 clients: photos/s", "p99 ms", "one client: p50 ms"], lines)


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
