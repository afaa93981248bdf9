"""Every figure of metrics.json: accuracy, calibration, per label, per slice. Axes: N photos, K class."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # type: ignore[import-untyped]

from training.data.photo_set import Photo
from training.evaluation import calibration
from training.evaluation.calibration import to_probabilities
from training.evaluation.network_outputs import Predictions

_NUM_SLICES = 4
_TOP = 5


class Decision(NamedTuple):
    """How logits become a probability, and from which probability an answer is called confident."""

    temperature: float
    threshold: float


def fit_decision(predictions: Predictions, precision: float) -> Decision:
    """Return the temperature and, for *precision* among confident answers, the threshold, fitted on *predictions*."""
    temperature = calibration.fit_temperature(predictions.logits_NK, predictions.classes_N)
    confidences_N = to_probabilities(predictions.logits_NK, temperature).max(axis=1)
    return Decision(temperature, calibration.choose_threshold(confidences_N, predictions.right, precision))


def evaluate_split(
    predictions: Predictions,
    photos: Sequence[Photo],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    decision: Decision,
    *,
    fitted_here: bool,
) -> dict[str, Any]:
    """Return the figures of one split; `summary` holds the single numbers.

    If *decision* was fitted on these photos (*fitted_here*), figures after temperature scaling are
    computed on held-out folds.
    """
    logits_NK, classes_N, right_N = predictions.logits_NK, predictions.classes_N, predictions.right
    held_out_NK = calibration.scale_held_out(logits_NK, classes_N) if fitted_here else logits_NK / decision.temperature
    raw_N, scaled_N = (to_probabilities(logits).max(axis=1) for logits in (logits_NK, held_out_NK))
    confident_N = to_probabilities(logits_NK, decision.temperature).max(axis=1) >= decision.threshold
    per_class = _measure_classes(logits_NK.argmax(axis=1), classes_N, labels)
    present = [row for row in per_class.values() if row["photos"]]
    summary = {
        "photos": len(photos),
        **_measure_accuracy(logits_NK, classes_N, groups),
        **{f"macro_{name}": np.mean([row[name] for row in present]) for name in ("precision", "recall", "f1")},
        "nll": calibration.mean_nll(logits_NK, classes_N),
        "nll_scaled": calibration.mean_nll(held_out_NK, classes_N),
        "ece": calibration.calibration_error(raw_N, right_N),
        "ece_scaled": calibration.calibration_error(scaled_N, right_N),
        "confident_share": confident_N.mean(),
        **({"confident_precision": right_N[confident_N].mean()} if confident_N.any() else {}),
    }
    return {
        "summary": {name: float(value) for name, value in summary.items()},
        "per_class": per_class,
        "confusion": confusion_matrix(classes_N, logits_NK.argmax(axis=1), labels=range(len(labels))).tolist(),
        "reliability": calibration.reliability_bins(raw_N, right_N),
        "reliability_scaled": calibration.reliability_bins(scaled_N, right_N),
        "by_short_side": slice_accuracy(read_short_sides(photos), right_N),
        "by_brightness": slice_accuracy(predictions.brightness_N, right_N),
    }


def slice_accuracy(values_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the top-1 of each quarter of the photos, ordered by value; equal values are in one quarter."""
    edges = np.unique(np.quantile(values_N, np.linspace(0.0, 1.0, _NUM_SLICES + 1)))
    slices_N = np.searchsorted(edges[1:-1], values_N, side="right")
    slices = []
    for index in np.unique(slices_N):
        values, right = values_N[slices_N == index], right_N[slices_N == index]
        slices.append(
            {"from": float(values.min()), "to": float(values.max()), "photos": len(right), "top1": float(right.mean())}
        )
    return slices


def read_short_sides(photos: Sequence[Photo]) -> NDArray[np.float64]:
    """Return each photo's short side in pixels, from its header alone."""
    sides = []
    for photo in photos:
        with Image.open(photo.path) as image:
            sides.append(min(image.size))
    return np.array(sides, dtype=np.float64)


def _measure_accuracy(
    logits_NK: NDArray[np.float32], classes_N: NDArray[np.int64], groups: Sequence[str] | None
) -> dict[str, float]:
    best_NK = np.argsort(-logits_NK, axis=1, kind="stable")
    hits_NK = best_NK == classes_N[:, None]
    figures = {"top1": hits_NK[:, 0].mean(), "top5": hits_NK[:, :_TOP].any(axis=1).mean()}
    if groups is not None:
        groups_K = np.array(groups)
        figures["coarse_top1"] = (groups_K[best_NK[:, 0]] == groups_K[classes_N]).mean()
    return figures


def _measure_classes(
    answers_N: NDArray[np.int64], classes_N: NDArray[np.int64], labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(classes_N, answers_N, labels=range(len(labels)), zero_division=0.0)
    names = ("precision", "recall", "f1", "photos")
    rows = zip(*(column.astype(float).tolist() for column in columns), strict=True)
    return {label: dict(zip(names, row, strict=True)) for label, row in zip(labels, rows, strict=True)}
