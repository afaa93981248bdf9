"""What was measured as a picture: throughput and latency of all contenders, side by side."""

from pathlib import Path

from matplotlib.axes import Axes

from benchmarks.bench_report import describe_row
from benchmarks.bench_results import CEILING, Row, Run
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, Scenario
from benchmarks.svg_plot import ACCENT, BLACK, draw_svg

_COLOURS = {"fruity": ACCENT, "same engine": "#4c6ef5", "usual way": "#adb5bd", CEILING: BLACK}


def draw_plot(run: Run, path: Path) -> None:
    spreads = [(run.spread_of(row, CAPACITY.name, "photos_per_s"), row) for row in run.rows()]
    speeds = [(spread.median, row) for spread, row in spreads if spread and row.cores == run.machine.cores]
    rows = [row for _, row in sorted(speeds)]
    rounds = f"medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''}, lines from least to greatest"
    caption = f"{run.date} · {run.machine.cpu}, {run.machine.cores} cores · {rounds}"
    with draw_svg(path, (11, 1.9 + 0.36 * len(rows)), columns=2, sharey=True) as (speed, latency):
        _draw_bars(speed, run, rows, CAPACITY, "photos_per_s")
        _draw_bars(latency, run, rows, ONE_CLIENT, "p50_ms")
        speed.set_title("photos a second, 16 clients (more is better)")
        latency.set_title("median milliseconds, one client (less is better)")
        title = "fruity and its peers, 512x512 JPEG"
        speed.figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
        speed.figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="#495057")


def _draw_bars(axes: Axes, run: Run, rows: list[Row], scenario: Scenario, figure: str) -> None:
    spreads = [run.spread_of(row, scenario.name, figure) for row in rows]
    names, medians = [describe_row(run, row) for row in rows], [spread.median if spread else 0.0 for spread in spreads]
    axes.barh(names, medians, color=[_COLOURS[row.way] for row in rows], height=0.72)
    for y, spread in enumerate(spreads):
        if spread is not None:
            axes.plot([spread.low, spread.high], [y, y], color="black", linewidth=1)
            text = f"{spread.median:.{1 if spread.median < 100 else 0}f}"
            axes.annotate(text, (spread.high, y), xytext=(5, 0), textcoords="offset points", va="center")
    axes.margins(x=0.14)
    axes.spines[["left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color="#e9ecef")
    axes.set_axisbelow(True)
