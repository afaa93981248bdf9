"""The capacity of one server and of Cloud Run: measures, simulates, and writes the page docs/capacity.md."""

import argparse
import sys
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.bench_results import write_json
from benchmarks.capacity.capacity_page import format_page
from benchmarks.capacity.capacity_plot import draw_day, draw_load
from benchmarks.capacity.capacity_results import Capacity, Measured, ResultsError, read_results
from benchmarks.capacity.capacity_simulation import simulate
from benchmarks.capacity.cloud_run_service import read_service
from benchmarks.capacity.container_rates import MeasuringPlan, measure
from benchmarks.contenders import SERVE_VENV
from benchmarks.server_process import ServerError
from serving.interrupts import interrupt_once
from serving.model_store import ROOT

DOCS = ROOT / "docs"
RESULTS = "capacity.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the container's capacity, and simulate Cloud Run with it.")
    parser.add_argument("--python", type=Path, default=SERVE_VENV / "bin" / "python", help="runs the supervisor")
    parser.add_argument("--simulate-only", action="store_true", help="use what was measured last")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of the page, its plots and figures (docs)")
    given = parser.parse_args()
    interrupt_once()
    started_s = time.monotonic()
    try:
        measured = (
            read_results(given.out / RESULTS, Capacity).measured
            if given.simulate_only
            else measure(given.python, MeasuringPlan())
        )
        print(f"measured in {timedelta(seconds=round(time.monotonic() - started_s))}", file=sys.stderr)
        write_results(measured, given.out)
    except (ResultsError, ServerError, OSError) as error:
        sys.exit(f"bench-capacity: {error}")
    except KeyboardInterrupt:
        print("bench-capacity: stopped, all servers too; nothing was written", file=sys.stderr)
        sys.exit(130)
    print(f"bench-capacity: {given.out / 'capacity.md'}, in {timedelta(seconds=round(time.monotonic() - started_s))}")


def write_results(measured: Measured, folder: Path) -> None:
    """Simulate what follows from *measured*, and write all of it into *folder*."""
    results = Capacity(measured=measured, simulated=simulate(measured, read_service()))
    write_json(folder / RESULTS, results)
    draw_pages(results, folder)


def draw_pages(results: Capacity, folder: Path) -> None:
    """Write the page and its plots; the same results give the same bytes."""
    (folder / "capacity.md").write_text(format_page(results, read_service()))
    draw_load(results, folder / "capacity_load.svg")
    draw_day(results, folder / "capacity_day.svg")


if __name__ == "__main__":
    main()
