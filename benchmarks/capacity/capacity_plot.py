"""The plots of docs/capacity.md: latency against load, and a day on Cloud Run."""

from pathlib import Path
from statistics import median

from matplotlib.ticker import NullFormatter

from benchmarks.capacity.capacity_results import Capacity
from benchmarks.capacity.capacity_simulation import OBJECTIVE_S
from benchmarks.svg_plot import ACCENT, BLACK, GREY, draw_svg


def draw_load(results: Capacity, path: Path) -> None:
    """Write the latencies that the queueing model predicts, and those measured, against the load."""
    curve, loops = results.simulated.curve, results.measured.open
    with draw_svg(path, (8, 3.6)) as axes:
        for name, style, marker in (("p99_ms", "-", "o"), ("p50_ms", "--", "s")):
            model, measured = [getattr(one, name) for one in curve], [median(getattr(loop, name)) for loop in loops]
            axes.plot([100 * one.share for one in curve], model, style, color=ACCENT, label=f"{name[:3]}, model")
            axes.plot([100 * one.share for one in loops], measured, marker, color=BLACK, label=f"{name[:3]}, measured")
        axes.set(xlabel="load, % of the capacity", ylabel="ms", ylim=(0, None))
        axes.set_title("latency against load, open loop")
        axes.legend()


def draw_day(results: Capacity, path: Path) -> None:
    """Write a day with the recommended settings: photos and instances, p99, euros."""
    day = results.simulated.day
    hours = [point.hour for point in day]
    with draw_svg(path, (9, 6), rows=3, sharex=True) as (rate, latency, cost):
        rate.plot(hours, [point.photos_per_s for point in day], color=GREY, linewidth=1)
        rate.set(ylabel="photos/s")
        instances = rate.twinx()
        instances.step(hours, [point.instances for point in day], where="post", color=ACCENT)
        instances.set_ylabel("instances", color=ACCENT)
        instances.set_ylim(bottom=0)
        rate.set_title("photos a second (grey) and instances")
        latency.plot(hours, [point.p99_ms for point in day], color=ACCENT)
        latency.axhline(1000 * OBJECTIVE_S, color=GREY, linestyle="--", linewidth=1)
        latency.set(ylabel="ms", yscale="log")
        latency.yaxis.set_major_formatter("{x:g}")
        latency.yaxis.set_minor_formatter(NullFormatter())
        latency.set_title("p99 of five minutes (line: objective)")
        cost.plot(hours, [point.euros for point in day], color=ACCENT)
        cost.set(ylabel="euros", xlabel="hour", xlim=(0, 24), xticks=range(0, 25, 3), ylim=(0, None))
        cost.set_title("euros since midnight")
