"""What was measured as a picture: throughput and latency of all contenders, side by side."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.bench_report import describe_row
from benchmarks.bench_results import CEILING, Row, Run
from benchmarks.scenarios import CAPACITY, ONE_CLIENT, Scenario
from benchmarks.svg_plot import write_svg

_COLOURS = {"fruity": "#d9480f", "same engine": "#4c6ef5", "usual way": "#adb5bd", CEILING: "#212529"}


def draw_plot(run: Run, path: Path) -> None:
    """Write the picture as SVG."""
    spreads = [(run.spread_of(row, CAPACITY.name, "photos_per_s"), row) for row in run.rows()]
    speeds = [(spread.median, row) for spread, row in spreads if spread and row.cores == run.machine.cores]
    rows = [row for _, row in sorted(speeds)]
    figure = Figure(figsize=(11, 1.9 + 0.36 * len(rows)), layout="constrained")
    speed, latency = figure.subplots(1, 2, sharey=True)
    _draw_bars(speed, run, rows, CAPACITY, "photos_per_s")
    _draw_bars(latency, run, rows, ONE_CLIENT, "p50_ms")
    speed.set_title("photos a second, 16 clients (more is better)", loc="left", fontsize=10)
    latency.set_title("median milliseconds, one client (less is better)", loc="left", fontsize=10)
    figure.suptitle("fruity and its peers, 512x512 JPEG", x=0.01, ha="left", fontsize=14, fontweight="bold")
    rounds = f"medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''}, lines from least to greatest"
    caption = f"{run.date} · {run.machine.cpu}, {run.machine.cores} cores · {rounds}"
    figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="#495057")
    write_svg(figure, path)


def _draw_bars(axes: Axes, run: Run, rows: list[Row], scenario: Scenario, figure: str) -> None:
    spreads = [run.spread_of(row, scenario.name, figure) for row in rows]
    axes.barh(
        [describe_row(run, row) for row in rows],
        [spread.median if spread else 0.0 for spread in spreads],
        color=[_COLOURS[row.way] for row in rows],
        height=0.72,
    )
    for y, spread in enumerate(spreads):
        if spread is not None:
            axes.plot([spread.low, spread.high], [y, y], color="black", linewidth=1)
            text = f"{spread.median:.{1 if spread.median < 100 else 0}f}"
            axes.annotate(text, (spread.high, y), xytext=(5, 0), textcoords="offset points", va="center")
    axes.margins(x=0.14)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color="#e9ecef")
    axes.set_axisbelow(True)
