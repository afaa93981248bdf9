"""The diagrams of the report, of a sweep and of a profile, each as one SVG file."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

_styled = mpl.rc_context(fname=Path(__file__).with_name("plots.mplstyle"))

_GREEN, _ORANGE, _GREY = "#2f7d4f", "#e07a2f", "#9aa5a0"
_MAX_NAMED_LABELS = 40


@_styled
def draw_curves(epochs: Sequence[Mapping[str, float]]) -> str:
    """Draw loss and val top-1 over the epochs, from the start on."""
    figure = Figure(figsize=(9.2, 3.2), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    panels = {"train_loss": (losses, _GREY), "val_loss": (losses, _GREEN), "val_top1": (accuracy, _GREEN)}
    for name, (axes, colour) in panels.items():
        # Epoch 0 is the start, which has no train loss.
        x, y = zip(*((epoch["epoch"], epoch[name]) for epoch in epochs if name in epoch), strict=True)
        axes.plot(x, y, color=colour, marker="o", markersize=3, label=name)
    losses.set(xlabel="epoch", ylabel="loss")
    accuracy.set(xlabel="epoch", ylabel="val top-1")
    losses.legend()
    return _to_svg(figure)


@_styled
def draw_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Draw the share of each label's photos by answer; up to 40 labels are named."""
    return _to_svg(_plot_confusion(confusion, labels))


@_styled
def rasterize_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return what `draw_confusion` draws as RGB pixels, uint8 HWC."""
    canvas = FigureCanvasAgg(_plot_confusion(confusion, labels))
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib is half typed
    rgba_HWC = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return rgba_HWC[:, :, :3].copy()


@_styled
def draw_study(values: Sequence[float]) -> str:
    """Draw the val top-1 of a sweep's trials and the best so far."""
    figure = Figure(figsize=(6.0, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.scatter(range(len(values)), values, color=_GREY, label="trial")
    axes.step(range(len(values)), np.maximum.accumulate(values), where="post", color=_GREEN, label="best so far")
    axes.set(xlabel="trial", ylabel="val top-1")
    axes.legend()
    return _to_svg(figure)


@_styled
def draw_profile(waits_s: Sequence[float], steps_s: Sequence[float], operators_s: Mapping[str, float]) -> str:
    """Draw for each batch the wait for the loader and the training step, and beside it the slowest operators."""
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    batches, operators = figure.subplots(1, 2)
    x = range(1, len(waits_s) + 1)
    batches.bar(x, waits_s, color=_ORANGE, label="wait for the loader")
    batches.bar(x, steps_s, bottom=waits_s, color=_GREEN, label="training step")
    batches.set(xlabel="batch", ylabel="s")
    batches.legend(loc="upper right")
    operators.barh(list(operators_s), list(operators_s.values()), color=_GREY)
    operators.invert_yaxis()
    operators.set(xlabel="s per batch, without operators called by it")
    return _to_svg(figure)


@_styled
def draw_reliability(raw: Sequence[Mapping[str, float]], scaled: Sequence[Mapping[str, float]]) -> str:
    """Draw accuracy over confidence before and after temperature scaling; the diagonal is perfect."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1)
    for bins, colour, name in ((raw, _ORANGE, "as trained"), (scaled, _GREEN, "after temperature scaling")):
        photos, x, y = np.array([(row["photos"], row["confidence"], row["accuracy"]) for row in bins]).T
        axes.plot(x, y, color=colour, linewidth=1, label=name)
        axes.scatter(x, y, s=12 + 120 * photos / photos.sum(), color=colour, alpha=0.8)
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="upper left")
    return _to_svg(figure)


@_styled
def draw_coverage(coverage: Sequence[Mapping[str, float]], share: float | None) -> str:
    """Draw the share of right answers over the share of photos, the most certain first; a line at *share* of them."""
    figure = Figure(figsize=(4.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot([row["share"] for row in coverage], [row["precision"] for row in coverage], color=_GREEN)
    if share:
        axes.axvline(share, color=_GREY, linestyle="--", linewidth=1, label="confident answers")
        axes.legend(loc="lower left")
    axes.set(xlabel="share of the photos", ylabel="share of right answers", xlim=(0, 1.02), ylim=(None, 1.02))
    return _to_svg(figure)


@_styled
def draw_robustness(robustness: Mapping[str, Mapping[str, float]]) -> str:
    """Draw top-1 under each corruption, mild and strong, against the photos as they are."""
    names = [name for name in robustness if name != "none"]
    figure = Figure(figsize=(4.8, 4.0), layout="constrained")
    axes = figure.subplots()
    for offset, degree, colour in ((-0.2, "mild", _GREEN), (0.2, "strong", _ORANGE)):
        shares = [robustness[name][degree] for name in names]
        axes.barh(np.arange(len(names)) + offset, shares, 0.36, color=colour, label=degree)
    axes.axvline(robustness["none"]["as is"], color=_GREY, linestyle="--", linewidth=1, label="as they are")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="top-1", xlim=(0, 1))
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=3)
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
    axes.set(xlabel="answer", ylabel="label")
    return figure


def _to_svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
