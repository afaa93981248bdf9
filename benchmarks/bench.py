"""fruity against its peers, side by side; writes bench.md, bench.json and bench.svg, and prints the first."""

import argparse
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.bench_report import draw_plot, format_report
from benchmarks.bench_results import OUT, Run, Trial, describe_machine, write_json
from benchmarks.contenders import SERVE_VENV
from benchmarks.entries import Entry, find_entries
from benchmarks.measurement import measuring
from benchmarks.scenarios import FULL, QUICK, Plan


def main() -> None:
    """Measure, write and print; exit with 1 if a contender could not be measured."""
    parser = argparse.ArgumentParser(description="Measure fruity against its peers, side by side.")
    parser.add_argument("--quick", action="store_true", help="one round of the most important loads: minutes")
    parser.add_argument("--archive", type=Path, help="another archive to measure beside the default one")
    parser.add_argument("--only", default="", help="those whose name has this text, as `FastAPI` or `same engine`")
    parser.add_argument("--out", type=Path, default=OUT, help="folder (default: build/bench)")
    parser.add_argument("--serve-venv", type=Path, default=SERVE_VENV, help="what `make serve` installs")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    with measuring("bench"):
        with tempfile.TemporaryDirectory(prefix="fruity-bench-", ignore_cleanup_errors=True) as scratch:
            entries = find_entries(arguments.archive, arguments.only, plan, arguments.serve_venv, Path(scratch))
            run = run_rounds(entries, plan)
        report = format_report(run)
        write_json(arguments.out / "bench.json", run)
        (arguments.out / "bench.md").write_text(report)
        draw_plot(run, arguments.out / "bench.svg")
    print(report)
    print(f"written to {arguments.out}: bench.md, bench.json, bench.svg", file=sys.stderr)
    if any(trial.failure for trial in run.trials):
        sys.exit("bench: some contenders could not be measured; the section Errors says why")


def run_rounds(entries: Sequence[Entry], plan: Plan) -> Run:
    """Measure every entry once a round, each round from another start, so that none is always first."""
    machine = describe_machine()
    trials: list[list[Trial]] = [[] for _ in entries]
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=plan.rounds * len(entries))
        for number in range(plan.rounds):
            turns = deque(zip(entries, trials, strict=True))
            turns.rotate(-(number * len(entries) // plan.rounds))
            for entry, own in turns:
                progress.update(task, description=f"round {number + 1} of {plan.rounds}: {entry.contender}")
                own.append(entry.measure(number, plan))
                progress.advance(task)
    date, every = datetime.now(UTC).date().isoformat(), [trial for own in trials for trial in own]
    return Run(date=date, machine=machine, rounds=plan.rounds, seconds=plan.seconds, trials=every)


if __name__ == "__main__":
    main()
