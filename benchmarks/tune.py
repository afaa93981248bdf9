"""The best settings for this machine: python -m benchmarks.tune [--archive build/fruity-1.1.0.mar].

Starts a real TorchServe with one setting after another, loads it, and writes the best one as a
model-config.yaml for `make serve` and `make archive`.
"""

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml
from rich.console import Console
from rich.progress import track

from benchmarks.bench_report import format_table
from benchmarks.bench_results import describe_machine, today, write_text
from benchmarks.contenders import FRUITY, SERVE_VENV, Place
from benchmarks.entries import BenchError, configure, default_archive, unpack
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, Plan
from benchmarks.trials import Entry, Photos
from serving.model_store import ROOT

TEMPLATE = ROOT / "model_archive" / "model-config.yaml"

# Of the fastest: a smaller difference is lost in the noise of a small machine.
_EQUAL_SHARE = 0.97


@dataclass(frozen=True)
class Setting:
    """What is varied of TorchServe's workers."""

    workers: int
    threads: int
    """Of each worker."""
    batch: int
    delay_ms: int

    def __str__(self) -> str:
        return f"workers {self.workers}, threads {self.threads}, batch {self.batch}, delay {self.delay_ms} ms"

    @classmethod
    def read(cls, config: Mapping[str, Any], cores: int) -> Self:
        """Return the setting of a model-config.yaml; by default the workers' threads share the cores."""
        workers = int(config["minWorkers"])
        threads = config.get("fruity", {}).get("threads") or max(1, cores // workers)
        return cls(workers, threads, int(config["batchSize"]), int(config["maxBatchDelay"]))

    def apply(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return *config* with this setting."""
        workers = {"minWorkers": self.workers, "maxWorkers": self.workers}
        batches = {"batchSize": self.batch, "maxBatchDelay": self.delay_ms}
        return {**config, **workers, **batches, "fruity": {**config.get("fruity", {}), "threads": self.threads}}


class Figures(NamedTuple):
    photos_per_s: float
    """At 16 clients."""
    one_client_ms: float
    """The p50 of a single client."""

    @classmethod
    def median(cls, measured: Sequence["Figures"]) -> Self:
        return cls(*(statistics.median(values) for values in zip(*measured, strict=True)))


def main() -> None:
    """Search, write and print."""
    arguments = _parse_arguments()
    template = yaml.safe_load(TEMPLATE.read_text())
    cores = len(os.sched_getaffinity(0))
    try:
        with tempfile.TemporaryDirectory(prefix="fruity-tune-", ignore_cleanup_errors=True) as scratch:
            place, photos = unpack(arguments.archive, Path(scratch) / "archive", arguments.serve_venv / "bin")
            finals = search(
                lambda setting: measure(setting, place, photos, template, arguments.seconds),
                Setting.read(template, cores),
                cores,
                arguments.rounds,
            )
    except (BenchError, OSError) as error:
        sys.exit(f"tune: {error}")
    except KeyboardInterrupt:
        sys.exit("tune: stopped, the server too; nothing was written")
    best = choose(finals)
    write_text(arguments.out, format_config(best, finals[best], template))
    Console().print(
        f"{format_settings(finals, best)}\n\nwritten to {arguments.out}; use it with\n"
        f"  make serve MODEL_CONFIG={arguments.out}\n  make archive MODEL_CONFIG={arguments.out}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def measure(setting: Setting, place: Place, photos: Photos, template: Mapping[str, Any], seconds: float) -> Figures:
    """Return what a TorchServe with *setting* gives; raise `BenchError`."""
    with tempfile.TemporaryDirectory(prefix="fruity-tune-") as scratch:
        configured = configure(place, setting.apply(template), Path(scratch))
        cores = len(os.sched_getaffinity(0))
        entry = Entry("fruity", "fruity", configured, photos, cores, contender=FRUITY, scenarios=(ONE_CLIENT, CAPACITY))
        trial = entry.measure(0, Plan(rounds=1, seconds=seconds, warm_up_s=1.0))
    if trial.failure:
        raise BenchError(f"{setting}: {trial.failure}")
    one, many = trial.results
    if one.errors or many.errors or one.p50_ms is None:
        raise BenchError(f"{setting} gave errors or too few answers: {one.errors | many.errors}")
    return Figures(many.photos_per_s, one.p50_ms)


def search(
    measure_setting: Callable[[Setting], Figures], first: Setting, cores: int, rounds: int
) -> dict[Setting, Figures]:
    """Vary one value after the other, from *first* on, and keep the best; return *first* and these, compared last.

    The phases lie minutes apart, so only what is measured side by side at the end is compared.
    """

    def compare(phase: str, settings: Iterable[Setting]) -> dict[Setting, Figures]:
        # Interleaved, so that a machine that slows down meanwhile slows all of them.
        order = [*settings] * rounds
        turns = track(order, description=phase, console=Console(stderr=True))
        measured = [(setting, measure_setting(setting)) for setting in turns]
        return {one: Figures.median([figures for setting, figures in measured if setting == one]) for one in order}

    best, finalists = first, [first]
    for name in ("batch", "delay_ms", "workers", "threads"):
        best = choose(compare(name, vary(best, name, cores)))
        finalists.append(best)
    return compare("final", dict.fromkeys(finalists))


def vary(setting: Setting, name: str, cores: int) -> list[Setting]:
    """Return *setting* with every value of its field *name* that is worth measuring on *cores* cores."""
    values: Iterable[int] = {
        "batch": (1, 2, 4, 8),
        # A batch of one waits for nothing.
        "delay_ms": (1, 2, 4) if setting.batch > 1 else (1,),
        "workers": (max(1, cores // 2), cores, cores + max(1, cores // 2)),
        "threads": (1, max(1, cores // setting.workers), cores),
    }[name]
    return [dataclasses.replace(setting, **{name: value}) for value in sorted({*values, getattr(setting, name)})]


def choose(measured: Mapping[Setting, Figures]) -> Setting:
    """Return, of the settings that are as fast as the fastest under load, the one that answers one client soonest."""
    enough = _EQUAL_SHARE * max(figures.photos_per_s for figures in measured.values())
    fast = {setting: figures for setting, figures in measured.items() if figures.photos_per_s >= enough}
    return min(fast, key=lambda setting: fast[setting].one_client_ms)


def format_config(best: Setting, figures: Figures, template: Mapping[str, Any]) -> str:
    """Return the *template* with the best setting as YAML, and where it comes from."""
    machine = describe_machine()
    head = (
        f"# Written by make tune on {today()}: {machine.cpu}, {machine.cores} cores.\n"
        f"# 16 clients {figures.photos_per_s:.0f} photos/s, one client p50 {figures.one_client_ms:.1f} ms.\n"
    )
    return head + yaml.safe_dump(best.apply(template), sort_keys=False)


def format_settings(settings: Mapping[Setting, Figures], best: Setting) -> str:
    """Return a Markdown table of *settings*, the fastest first."""
    lines = [
        [f"{setting}{' **chosen**' if setting == best else ''}", f"{photos_per_s:.0f}", f"{one_client_ms:.1f}"]
        for setting, (photos_per_s, one_client_ms) in sorted(settings.items(), key=lambda item: -item[1].photos_per_s)
    ]
    return format_table(["setting", "16 clients: photos/s", "one client: p50 ms"], lines)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Find the best settings for this machine.")
    parser.add_argument("--archive", type=Path, default=default_archive(), help="default: the one of the repository")
    parser.add_argument("--rounds", type=int, choices=range(1, 100), metavar="N", default=2, help="default: 2")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each load; default: 3")
    parser.add_argument("--out", type=Path, default=Path("build/tune/model-config.yaml"), help="default: %(default)s")
    parser.add_argument("--serve-venv", type=Path, default=SERVE_VENV, help="what `make serve` installs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
