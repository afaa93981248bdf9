"""The story of a loop as a picture: confidence, accuracy and version over time."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from benchmarks.loop_stream import Asked
from benchmarks.svg_plot import ACCENT, GREY, draw_svg

_MEAN_OF = 50
_VERSION_COLOURS = ("#f1f3f5", "#d3f9d8", "#d0ebff")


def draw_story(asked: Sequence[Asked], new_labels: Collection[str], events: Mapping[str, float], path: Path) -> None:
    """Draw what was *asked*, and when each of the *events* happened, on `time.perf_counter`."""
    start_s = asked[0].at_s

    def draw_mean(axes: Axes, some: Sequence[Asked], value: Callable[[Asked], float], label: str, colour: str) -> None:
        values = np.array([value(one) for one in some], dtype=float)
        means = [values[max(0, end - _MEAN_OF) : end].mean() for end in range(10, len(values) + 1)]
        axes.plot([(one.at_s - start_s) / 60 for one in some[9:]], means, label=label, color=colour, linewidth=1.4)

    known = [one for one in asked if one.photo.label not in new_labels]
    new = [one for one in asked if one.photo.label in new_labels]
    with draw_svg(path, (11, 5.5), rows=2, sharex=True) as (confidence, accuracy):
        draw_mean(confidence, asked, lambda one: one.confidence, "all photos", ACCENT)
        confidence.set_title(f"mean probability of the first label, of the last {_MEAN_OF} photos")
        draw_mean(accuracy, known, lambda one: one.is_right, "the 71 old labels", "#495057")
        draw_mean(accuracy, new, lambda one: one.is_right, "the 10 new labels", "#2f9e44")
        accuracy.set_title(f"accuracy, of the last {_MEAN_OF} photos")
        accuracy.set(xlabel="minutes", ylim=(-0.03, 1.03))
        accuracy.legend(loc="center left")
        for axes in (confidence, accuracy):
            _draw_versions(axes, asked)
            _draw_events(axes, {name: (at_s - start_s) / 60 for name, at_s in events.items()})
            axes.spines["right"].set_visible(False)
        confidence.figure.suptitle(
            "From drift to the next version: make bench-loop", x=0.01, ha="left", fontweight="bold"
        )


def _draw_versions(axes: Axes, asked: Sequence[Asked]) -> None:
    """Colour the background by the version that answered."""
    for version, colour in zip(
        dict.fromkeys(one.version for one in asked if one.version), _VERSION_COLOURS, strict=False
    ):
        minutes = [(one.at_s - asked[0].at_s) / 60 for one in asked if one.version == version]
        axes.axvspan(min(minutes), max(minutes), color=colour, zorder=0)
        axes.text(min(minutes), 1.0, f" {version}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)


def _draw_events(axes: Axes, minutes: Mapping[str, float]) -> None:
    for number, (name, minute) in enumerate(minutes.items()):
        axes.axvline(minute, color=GREY, linewidth=0.8, linestyle="--")
        height = 0.86 - 0.09 * number
        axes.text(minute, height, f" {name}", transform=axes.get_xaxis_transform(), fontsize=7, color="#495057")
