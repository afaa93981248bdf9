"""The story of a loop as a picture: confidence, accuracy and version over time."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.loop_stream import Asked
from benchmarks.svg_plot import write_svg

_MEAN_OF = 50
_VERSION_COLOURS = ("#f1f3f5", "#d3f9d8", "#d0ebff")


@dataclass
class Story:
    """What was asked, and when it happened, on `time.perf_counter`."""

    new_labels: Collection[str]
    asked: list[Asked] = field(default_factory=list)
    changed_s: float = 0.0
    detected_s: float = 0.0
    loop_s: float = 0.0


def draw_story(story: Story, path: Path) -> None:
    """Write the picture as SVG."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    confidence, accuracy = figure.subplots(2, 1, sharex=True)
    known = [one for one in story.asked if one.photo.label not in story.new_labels]
    new = [one for one in story.asked if one.photo.label in story.new_labels]
    _draw_mean(confidence, story, story.asked, lambda one: one.confidence, "all photos", "#d9480f")
    confidence.set_title(f"mean probability of the first label, of the last {_MEAN_OF} photos", loc="left", fontsize=10)
    _draw_mean(accuracy, story, known, lambda one: one.is_right, "the 71 old labels", "#495057")
    _draw_mean(accuracy, story, new, lambda one: one.is_right, "the 10 new labels", "#2f9e44")
    accuracy.set_title(f"accuracy, of the last {_MEAN_OF} photos", loc="left", fontsize=10)
    accuracy.set(xlabel="minutes", ylim=(-0.03, 1.03))
    accuracy.legend(loc="center left", fontsize=8)
    for axes in (confidence, accuracy):
        _draw_versions_and_events(axes, story)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("From drift to the next version: make bench-loop", x=0.01, ha="left", fontweight="bold")
    write_svg(figure, path)


def _draw_mean(
    axes: Axes, story: Story, asked: Sequence[Asked], value: Callable[[Asked], float], label: str, colour: str
) -> None:
    values = np.array([value(one) for one in asked], dtype=float)
    means = [values[max(0, end - _MEAN_OF) : end].mean() for end in range(1, len(values) + 1)]
    minutes = [_minute(story, one.at_s) for one in asked]
    axes.plot(minutes[9:], means[9:], label=label, color=colour, linewidth=1.4)


def _draw_versions_and_events(axes: Axes, story: Story) -> None:
    """Colour the background by the version that answered, and draw a line for each event."""
    versions = list(dict.fromkeys(one.version for one in story.asked if one.version))
    for number, version in enumerate(versions):
        minutes = [_minute(story, one.at_s) for one in story.asked if one.version == version]
        axes.axvspan(min(minutes), max(minutes), color=_VERSION_COLOURS[number], zorder=0)
        axes.text(min(minutes), 1.0, f" {version}", transform=axes.get_xaxis_transform(), va="top", fontsize=8)
    events = {"new labels come in": story.changed_s, "drift found": story.detected_s, "make loop": story.loop_s}
    for number, (name, at_s) in enumerate(events.items()):
        minute = _minute(story, at_s)
        axes.axvline(minute, color="#868e96", linewidth=0.8, linestyle="--")
        height = 0.86 - 0.09 * number
        axes.text(minute, height, f" {name}", transform=axes.get_xaxis_transform(), fontsize=7, color="#495057")


def _minute(story: Story, at_s: float) -> float:
    return (at_s - story.asked[0].at_s) / 60
