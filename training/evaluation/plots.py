"""The diagrams of the report, of a sweep and of a profile, each as one SVG file."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa5a0",
    "axes.labelcolor": "#3d4a44",
    "xtick.color": "#3d4a44",
    "ytick.color": "#3d4a44",
    "svg.fonttype": "none",
    # Element ids are otherwise random, and equal runs must give equal pages.
    "svg.hashsalt": "fruity",
}
_GREEN, _ORANGE, _GREY = "#2f7d4f", "#e07a2f", "#9aa5a0"
_MAX_NAMED_LABELS = 40


def draw_curves(epochs: Sequence[Mapping[str, float]]) -> str:
    """Draw loss and val top-1 over the epochs."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.2, 3.2), layout="constrained")
        losses, accuracy = figure.subplots(1, 2)
        x = range(1, len(epochs) + 1)
        for name, colour in (("train_loss", _GREY), ("val_loss", _GREEN)):
            losses.plot(x, [epoch[name] for epoch in epochs], color=colour, marker="o", markersize=3, label=name)
        accuracy.plot(x, [epoch["val_top1"] for epoch in epochs], color=_GREEN, marker="o", markersize=3)
        _label(losses, "epoch", "loss")
        _label(accuracy, "epoch", "val top-1")
        losses.legend(frameon=False)
        return _to_svg(figure)


def draw_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Draw the share of each label's photos by answer; up to 40 labels are named."""
    with mpl.rc_context(_STYLE):
        return _to_svg(_plot_confusion(confusion, labels))


def draw_study(values: Sequence[float]) -> str:
    """Draw the val top-1 of a sweep's trials and the best so far."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.scatter(range(len(values)), values, color=_GREY, label="trial")
        axes.step(range(len(values)), np.maximum.accumulate(values), where="post", color=_GREEN, label="best so far")
        _label(axes, "trial", "val top-1")
        axes.legend(frameon=False)
        return _to_svg(figure)


def draw_profile(waits_s: Sequence[float], steps_s: Sequence[float], operators_s: Mapping[str, float]) -> str:
    """Draw for each batch the wait for the loader and the training step, and beside it the slowest operators."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.2, 3.6), layout="constrained")
        batches, operators = figure.subplots(1, 2)
        x = range(1, len(waits_s) + 1)
        batches.bar(x, waits_s, color=_ORANGE, label="wait for the loader")
        batches.bar(x, steps_s, bottom=waits_s, color=_GREEN, label="training step")
        _label(batches, "batch", "s")
        batches.legend(frameon=False, loc="upper right")
        operators.barh(list(operators_s), list(operators_s.values()), color=_GREY)
        operators.invert_yaxis()
        operators.set_xlabel("s per batch, without operators called by it")
        return _to_svg(figure)


def rasterize_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return what `draw_confusion` draws as RGB pixels, uint8 HWC."""
    with mpl.rc_context(_STYLE):
        canvas = FigureCanvasAgg(_plot_confusion(confusion, labels))
        canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib is half typed
        rgba_HWC = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        return rgba_HWC[:, :, :3].copy()


def draw_reliability(raw: Sequence[Mapping[str, float]], scaled: Sequence[Mapping[str, float]]) -> str:
    """Draw accuracy over confidence before and after temperature scaling; the diagonal is perfect."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 4.0), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
        for bins, colour, name in ((raw, _ORANGE, "as trained"), (scaled, _GREEN, "after temperature scaling")):
            areas = [12 + 120 * b["photos"] / sum(c["photos"] for c in bins) for b in bins]
            x, y = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
            axes.plot(x, y, color=colour, linewidth=1, label=name)
            axes.scatter(x, y, s=areas, color=colour, alpha=0.8)
        _label(axes, "confidence", "share of right answers")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.legend(frameon=False, loc="upper left")
        return _to_svg(figure)


def draw_robustness(robustness: Mapping[str, Mapping[str, float]]) -> str:
    """Draw top-1 under each corruption, mild and strong, against the photos as they are."""
    clean = robustness["none"]["as is"]
    names = [name for name in robustness if name != "none"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.8, 4.0), layout="constrained")
        axes = figure.subplots()
        for offset, degree, colour in ((-0.2, "mild", _GREEN), (0.2, "strong", _ORANGE)):
            places = [index + offset for index in range(len(names))]
            axes.barh(places, [robustness[name][degree] for name in names], 0.36, color=colour, label=degree)
        axes.axvline(clean, color=_GREY, linestyle="--", linewidth=1, label="as they are")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(0, 1))
        axes.invert_yaxis()
        axes.set_xlabel("top-1")
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
        return _to_svg(figure)


def _plot_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Figure:
    counts_KK = np.array(confusion, dtype=float)
    shares_KK = counts_KK / np.maximum(1.0, counts_KK.sum(axis=1, keepdims=True))
    side = min(9.2, 3.0 + 0.16 * len(labels))
    figure = Figure(figsize=(side, side * 0.9), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares_KK, cmap="Greens", vmin=0.0, vmax=1.0, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the label's photos")
    if len(labels) <= _MAX_NAMED_LABELS:
        axes.set_xticks(range(len(labels)), labels, rotation=90)
        axes.set_yticks(range(len(labels)), labels)
    _label(axes, "answer", "label")
    return figure


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _to_svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
