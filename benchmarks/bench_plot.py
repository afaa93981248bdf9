"""What was measured as a picture: throughput and latency of all contenders, side by side."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes

from benchmarks.bench_report import describe_row
from benchmarks.bench_results import CEILING, Row, Run
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, Scenario
from benchmarks.svg_plot import ACCENT, BLACK, draw_svg

_COLOURS = {"fruity": ACCENT, "same engine": "#4c6ef5", "usual way": "#adb5bd", CEILING: BLACK}


def draw_plot(run: Run, path: Path) -> None:
    speeds = {row: run.measured(row, CAPACITY.name, "photos_per_s") for row in run.rows()}
    rows = sorted(
        (row for row, speed in speeds.items() if speed and row.cores == run.machine.cores),
        key=lambda row: (median(speeds[row]), row),
    )
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
    for y, row in enumerate(rows):
        rounds = run.measured(row, scenario.name, figure)
        middle = median(rounds or [0.0])
        axes.barh(describe_row(run, row), middle, color=_COLOURS[row.way], height=0.72)
        if rounds:
            axes.plot([min(rounds), max(rounds)], [y, y], color="black", linewidth=1)
            text = f"{middle:.{1 if middle < 100 else 0}f}"
            axes.annotate(text, (max(rounds), y), xytext=(5, 0), textcoords="offset points", va="center")
    axes.margins(x=0.14)
    axes.spines[["left", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color="#e9ecef")
    axes.set_axisbelow(True)
