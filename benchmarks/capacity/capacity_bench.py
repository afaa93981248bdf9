"""The capacity of one server and of Cloud Run: measures, simulates, and writes the page docs/capacity.md."""

import argparse
import time
from datetime import timedelta
from pathlib import Path

from benchmarks.bench_results import write_json
from benchmarks.capacity.capacity_page import draw_pages
from benchmarks.capacity.capacity_results import Capacity, read_results
from benchmarks.capacity.capacity_simulation import simulate
from benchmarks.capacity.cloud_run_service import read_service
from benchmarks.capacity.container_rates import MeasuringPlan, measure
from benchmarks.contenders import SERVE_PYTHON
from benchmarks.measurement import measuring
from serving.model_store import ROOT

DOCS = ROOT / "docs"
RESULTS = "capacity.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the container's capacity, and simulate Cloud Run with it.")
    parser.add_argument("--python", type=Path, default=SERVE_PYTHON, help="runs the supervisor")
    parser.add_argument("--simulate-only", action="store_true", help="use what was measured last")
    given = parser.parse_args()
    started_s = time.monotonic()
    with measuring("bench-capacity"):
        known = read_results(DOCS / RESULTS).measured if given.simulate_only else None
        measured = known or measure(given.python, MeasuringPlan())
        results = Capacity(measured=measured, simulated=simulate(measured, read_service()))
        write_json(DOCS / RESULTS, results)
        draw_pages(results, DOCS)
    print(f"bench-capacity: {DOCS / 'capacity.md'}, in {timedelta(seconds=round(time.monotonic() - started_s))}")


if __name__ == "__main__":
    main()
