"""The plots of the drift report, as SVG. Axes: N photos of the window, M of the reference, K class, R direction."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from handler.drift_reference import Histogram
from handler.engine import Floats
from monitoring.drift_tests import STATISTIC_TOLERANCES
from monitoring.drift_verdict import Verdict
from monitoring.prediction_windows import read_time

_styled = mpl.rc_context(fname=Path(__file__).with_name("drift_plots.mplstyle"))

_BEFORE, _AFTER, _GREY = "#2f7d4f", "#d9480f", "#9aa5a0"
_NUM_LABELS = 12


@_styled
def draw_statistics(histograms: Mapping[str, Histogram], statistics: Mapping[str, Floats]) -> str:
    """Draw the share of photos below each value, of val and of the window."""
    names = [name for name in STATISTIC_TOLERANCES if len(statistics[name])]
    figure = Figure(figsize=(9.2, 2.4 * ((len(names) + 3) // 4)), layout="constrained")
    grid = list(figure.subplots((len(names) + 3) // 4, 4, squeeze=False).flat)
    for axes, name in zip(grid, names, strict=False):
        axes.ecdf(histograms[name].samples_N, color=_BEFORE, label="val")
        axes.ecdf(statistics[name], color=_AFTER, label="window")
        axes.set(xlabel=name, ylim=(0, 1))
    for axes in grid[len(names) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("share of photos below")
    grid[0].legend(loc="upper left", fontsize=8)
    return _to_svg(figure)


@_styled
def draw_labels(before_K: Floats, after_K: Floats, labels: Sequence[str]) -> str:
    """Draw the shares of the labels that rose and fell most."""
    changes_K = after_K - before_K
    order = np.argsort(changes_K)
    chosen = sorted({*order[: _NUM_LABELS // 2], *order[-_NUM_LABELS // 2 :]}, key=lambda k: changes_K[k])
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.subplots()
    y = np.arange(len(chosen))
    axes.barh(y + 0.2, [100 * before_K[k] for k in chosen], 0.38, color=_BEFORE, label="expected")
    axes.barh(y - 0.2, [100 * after_K[k] for k in chosen], 0.38, color=_AFTER, label="window")
    axes.set_yticks(y, [labels[k] if len(labels[k]) <= 28 else f"{labels[k][:27]}…" for k in chosen])
    axes.set(xlabel="% of the photos")
    axes.legend(loc="lower right")
    return _to_svg(figure)


@_styled
def draw_embeddings(before_MR: Floats, after_NR: Floats) -> str:
    """Draw the first two principal components of the reference's photos, and the window's photos in them."""
    mean_R = before_MR.mean(axis=0)
    components_R2 = np.linalg.svd(before_MR - mean_R, full_matrices=False)[2][:2].T
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for points_NR, colour, name in ((before_MR, _BEFORE, "val"), (after_NR, _AFTER, "window")):
        x_N, y_N = ((points_NR - mean_R) @ components_R2).T
        axes.scatter(x_N, y_N, s=10, color=colour, alpha=0.5, linewidths=0, label=name)
    axes.set(xlabel="first component", ylabel="second component")
    axes.legend(loc="best", markerscale=2)
    return _to_svg(figure)


@_styled
def draw_timeline(verdicts: Sequence[Verdict]) -> str:
    """Draw the evidence for drift of each window; from the line on it is drift."""
    figure = Figure(figsize=(9.2, 2.6), layout="constrained")
    axes = figure.subplots()
    times, scores = [read_time(verdict.photos[-1]) for verdict in verdicts], [verdict.score for verdict in verdicts]
    axes.plot(times, scores, color=_GREY, linewidth=1)  # type: ignore[arg-type]  # Matplotlib draws times
    colours = [_AFTER if verdict.drifted else _BEFORE for verdict in verdicts]
    axes.scatter(times, scores, color=colours, s=24, zorder=2)  # type: ignore[arg-type]
    axes.axhline(1.0, color=_AFTER, linestyle="--", linewidth=1)
    axes.set(ylabel="evidence, 1 is drift", ylim=(0, None))
    axes.tick_params(axis="x", labelrotation=20)
    return _to_svg(figure)


def _to_svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
