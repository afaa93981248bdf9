"""What was measured as pictures: contenders side by side, and what a photo's time consists of."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.plan import CAPACITY, ONE_CLIENT
from benchmarks.report import describe_row, rows_of, scenes_of, spread_of
from benchmarks.results import CEILING, Anatomy, Machine, Row, Run, Scene, Spread

_COLOURS = {"fruity": "#d9480f", "same engine": "#4c6ef5", "usual way": "#adb5bd", CEILING: "#212529"}
_LEFT_OUT = "#ced4da"
_PART_COLOURS = ("#d9480f", "#f08c00", "#7048e8", "#1098ad", "#4c6ef5", "#adb5bd")
_INCHES_A_ROW = 0.36


def draw_plot(run: Run, path: Path) -> None:
    """Write the picture as SVG, in one atomic step."""
    rows = sorted(
        (row for row in rows_of(run) if row[3] == run.machine.cores and scenes_of(run, row, CAPACITY.name)),
        key=lambda row: _median(spread_of(scenes_of(run, row, CAPACITY.name), _speed)),
    )
    figure = Figure(figsize=(11, 1.9 + _INCHES_A_ROW * len(rows)), layout="constrained")
    FigureCanvasSVG(figure)
    speed, latency = figure.subplots(1, 2, sharey=True)
    _draw_bars(speed, run, rows, CAPACITY.name, _speed)
    _draw_bars(latency, run, rows, ONE_CLIENT.name, lambda scene: scene.p50_ms)
    speed.set_title("photos a second, 16 clients (more is better)", loc="left", fontsize=10)
    latency.set_title("median milliseconds, one client (less is better)", loc="left", fontsize=10)
    figure.suptitle("fruity and its peers, 512x512 JPEG", x=0.01, ha="left", fontsize=14, fontweight="bold")
    rounds = f"medians of {run.rounds} interleaved round{'s' if run.rounds > 1 else ''}, lines from least to greatest"
    _caption(figure, run.date, run.machine, rounds)
    _save(figure, path)


def draw_anatomy(anatomy: Anatomy, path: Path) -> None:
    """Write what a photo's CPU time consists of as SVG, in one atomic step."""
    figure = Figure(figsize=(11, 2.6), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    axes.barh("no server", anatomy.ceiling_ms, color=_COLOURS[CEILING], height=0.6)
    axes.annotate(f"{anatomy.ceiling_ms:.1f} ms", (anatomy.ceiling_ms, 0), xytext=(5, -3), textcoords="offset points")
    start_ms = 0.0
    for (part, ms), colour in zip(anatomy.parts_ms.items(), _PART_COLOURS, strict=True):
        axes.barh("fruity", ms, left=start_ms, color=colour, height=0.6, label=f"{part} {ms:.2f}")
        start_ms += ms
    axes.annotate(f"{start_ms:.1f} ms", (start_ms, 1), xytext=(5, -3), textcoords="offset points")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.3), ncols=len(anatomy.parts_ms), frameon=False, fontsize=8)
    axes.margins(x=0.08)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.suptitle("CPU milliseconds a photo, 512x512 JPEG, 16 clients", x=0.01, ha="left", fontweight="bold")
    _caption(figure, anatomy.date, anatomy.machine, "workers sampled 100 times a second")
    _save(figure, path)


def _caption(figure: Figure, date: str, machine: Machine, how: str) -> None:
    text = f"{date} · {machine.cpu}, {machine.cores} cores · {how}"
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color="#495057")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    # The same run draws the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "fruity"}):
        figure.savefig(partial, format="svg", metadata={"Date": None})
    partial.replace(path)


def _speed(scene: Scene) -> float:
    return scene.photos_per_s


def _median(spread: Spread | None) -> float:
    return spread.median if spread else 0.0


def _draw_bars(axes: Axes, run: Run, rows: list[Row], name: str, value: Callable[[Scene], float | None]) -> None:
    spreads = [spread_of(scenes_of(run, row, name), value) for row in rows]
    axes.barh(
        [describe_row(run, row) for row in rows],
        [_median(spread) for spread in spreads],
        color=[_COLOURS.get(row[1], _LEFT_OUT) for row in rows],
        height=0.72,
    )
    for place, spread in enumerate(spreads):
        if spread is None:
            continue
        axes.plot([spread.low, spread.high], [place, place], color="black", linewidth=1)
        digits = 1 if spread.median < 100 else 0
        axes.annotate(
            f"{spread.median:.{digits}f}", (spread.high, place), xytext=(5, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.14)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(visible=True, color="#e9ecef")
    axes.set_axisbelow(True)
