"""The plots of docs/capacity.md: latency against load, and a day on Cloud Run."""

from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.capacity.capacity_results import Capacity
from benchmarks.capacity.capacity_simulation import OBJECTIVE_S
from benchmarks.svg_plot import write_svg

_MODEL, _MEASURED, _LIMIT = "#d9480f", "#212529", "#868e96"


def draw_load(results: Capacity, path: Path) -> None:
    """Write the latencies that the queueing model predicts, and those measured, against the load, as SVG."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    curve, loops = results.simulated.curve, results.measured.open
    for name, style in (("p99_ms", "-"), ("p50_ms", "--")):
        model = [getattr(prediction, name) for prediction in curve]
        axes.plot([100 * one.share for one in curve], model, style, color=_MODEL, label=f"{name[:3]}, model")
        measured = [median(getattr(loop, name)) for loop in loops]
        marker = "o" if name == "p99_ms" else "s"
        axes.plot([100 * one.share for one in loops], measured, marker, color=_MEASURED, label=f"{name[:3]}, measured")
    axes.set(xlabel="load, % of the capacity", ylabel="ms", ylim=(0, None))
    axes.set_title("latency against load, open loop", loc="left", fontsize=10)
    axes.legend(fontsize=8)
    _save(figure, [axes], path)


def draw_day(results: Capacity, path: Path) -> None:
    """Write a day with the recommended settings as SVG: photos and instances, p99, euros."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    rate, latency, cost = figure.subplots(3, 1, sharex=True)
    day = results.simulated.day
    hours = [point.hour for point in day]
    rate.plot(hours, [point.photos_per_s for point in day], color=_LIMIT, linewidth=1)
    rate.set(ylabel="photos/s")
    instances = rate.twinx()
    instances.step(hours, [point.instances for point in day], where="post", color=_MODEL)
    instances.set_ylabel("instances", color=_MODEL)
    instances.set_ylim(bottom=0)
    rate.set_title("photos a second (grey) and instances", loc="left", fontsize=10)
    latency.plot(hours, [point.p99_ms for point in day], color=_MODEL)
    latency.axhline(1000 * OBJECTIVE_S, color=_LIMIT, linestyle="--", linewidth=1)
    latency.set(ylabel="ms", yscale="log")
    latency.yaxis.set_major_formatter("{x:g}")
    latency.yaxis.set_minor_formatter(NullFormatter())
    latency.set_title("p99 of five minutes (line: objective)", loc="left", fontsize=10)
    cost.plot(hours, [point.euros for point in day], color=_MODEL)
    cost.set(ylabel="euros", xlabel="hour", xlim=(0, 24), xticks=range(0, 25, 3), ylim=(0, None))
    cost.set_title("euros since midnight", loc="left", fontsize=10)
    _save(figure, [rate, instances, latency, cost], path)


def _save(figure: Figure, plots: list[Axes], path: Path) -> None:
    for axes in plots:
        axes.spines["top"].set_visible(False)
    write_svg(figure, path)
