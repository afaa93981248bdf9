"""docs/capacity.md and its plots, drawn from what was measured and simulated; capacity.md.j2 is the text."""

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jinja2
from matplotlib.ticker import NullFormatter

from benchmarks.capacity import capacity_simulation, cloud_run_service
from benchmarks.capacity.capacity_results import Capacity, ClosedLoop, Measured
from benchmarks.capacity.cloud_run_model import TARGET
from benchmarks.capacity.cloud_run_service import CloudRunService, read_service
from benchmarks.capacity.container_rates import DURATIONS_SHARE
from benchmarks.scenarios import MIDDLE, PHONE
from benchmarks.svg_plot import ACCENT, BLACK, GREY, draw_svg

_GOAL = 0.25
_HOURS_A_MONTH = 730
_THEN = {
    1_000: "Cloud Run, with photos that the client scales down as `fruity predict` does, and a `maxScale` for the rest",
    10_000: "Kubernetes with KServe or an autoscaled Deployment (`deploy/kubernetes/`), on nodes at a committed price, "
    "in more than one region; what can wait is scored offline",
    100_000: "shards by region, each with its own registry and log; GPU nodes, to which clients send photos of the "
    "network's size, so that little is decoded",
}


def draw_pages(results: Capacity, folder: Path) -> None:
    """Write the page and its plots; the same results give the same bytes."""
    (folder / "capacity.md").write_text(format_page(results, read_service()))
    _draw_load(results, folder / "capacity_load.svg")
    _draw_day(results, folder / "capacity_day.svg")


def format_page(results: Capacity, service: CloudRunService) -> str:
    """Return the page as Markdown; the same results give the same text."""
    measured, simulated = results.measured, results.simulated
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701, Markdown
    template = environment.from_string(Path(__file__).with_name("capacity.md.j2").read_text())
    checks = [
        (loop, predicted, predicted.p99_ms / median(loop.p99_ms))
        for loop, predicted in zip(measured.open, simulated.open, strict=True)
    ]

    def modelled(loop: ClosedLoop) -> str:
        has_model = (loop.photos, loop.cores) == (MIDDLE, measured.machine.cores)
        return f"{simulated.closed_photos_per_s[loop.clients]:.0f}" if has_model else "-"

    text = template.render(
        measured=measured,
        simulated=simulated,
        service=service,
        modelled=modelled,
        median=median,
        is_good=_is_good,
        checks=checks,
        num_good=sum(_is_good(ratio) for *_, ratio in checks),
        best=simulated.recommended,
        is_reached=capacity_simulation.reaches_objectives(simulated.recommended),
        price_tolerance=capacity_simulation.PRICE_TOLERANCE,
        durations_share=DURATIONS_SHARE,
        photos=sum(300 * point.photos_per_s for point in simulated.day),
        peak=max(point.photos_per_s for point in simulated.day),
        start_s=median(measured.start_s) + cloud_run_service.PLATFORM_START_S,
        assumed=cloud_run_service,
        middle=MIDDLE,
        phone=PHONE,
        scales=[_scale(measured, service, photos_per_s) for photos_per_s in _THEN],
    )
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _is_good(ratio: float) -> bool:
    return abs(ratio - 1) <= _GOAL


def _scale(measured: Measured, service: CloudRunService, photos_per_s: int) -> Mapping[str, Any]:
    """Return what *photos_per_s* need of small photos and of a phone's."""
    loops = [capacity_simulation.find_full_load(measured, size) for size in (MIDDLE, PHONE)]
    # What an instance answers while Cloud Run keeps its CPUs at the target.
    rates = [min(loop.photos_per_s, TARGET * service.vcpus * 1000 / loop.cpu_ms_per_photo) for loop in loops]
    instances, phone_instances = (math.ceil(photos_per_s / rate) for rate in rates)
    gbits, phone_gbits = (8 * photos_per_s * measured.photo_bytes[size] / 1e9 for size in (MIDDLE, PHONE))
    return {
        "photos_per_s": photos_per_s,
        "rates": rates,
        "instances": instances,
        "phone_instances": phone_instances,
        "vcpus": instances * service.billed_vcpus,
        "gbits": gbits,
        "phone_gbits": phone_gbits,
        "euros": instances * service.euros_per_instance_s * 3600 * _HOURS_A_MONTH,
        "breaks": _find_limit(instances, service),
        "phone_breaks": _find_limit(phone_instances, service),
        "then": _THEN[photos_per_s],
    }


def _find_limit(instances: int, service: CloudRunService) -> str:
    if instances <= service.max_instances:
        return "nothing"
    return f"`maxScale` {service.max_instances}, then a quota of {instances * service.billed_vcpus:,.0f} vCPUs"


def _draw_load(results: Capacity, path: Path) -> None:
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


def _draw_day(results: Capacity, path: Path) -> None:
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
        latency.axhline(1000 * capacity_simulation.OBJECTIVE_S, color=GREY, linestyle="--", linewidth=1)
        latency.set(ylabel="ms", yscale="log")
        latency.yaxis.set_major_formatter("{x:g}")
        latency.yaxis.set_minor_formatter(NullFormatter())
        latency.set_title("p99 of five minutes (line: objective)")
        cost.plot(hours, [point.euros for point in day], color=ACCENT)
        cost.set(ylabel="euros", xlabel="hour", xlim=(0, 24), xticks=range(0, 25, 3), ylim=(0, None))
        cost.set_title("euros since midnight")
