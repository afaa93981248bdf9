"""Every figure of metrics.json: accuracy, calibration, per label, per slice. Axes: N photos, K class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import (  # type: ignore[import-untyped]
    confusion_matrix,
    precision_recall_fscore_support,
)

from training.data.photo_set import Photo
from training.evaluation.calibration import (
    calibration_error,
    choose_threshold,
    fit_temperature,
    mean_nll,
    reliability_bins,
    scale_held_out,
    to_probabilities,
)
from training.evaluation.network_outputs import Predictions

_NUM_SLICES = 4
_TOP = 5
_CLASS_FIGURES = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Decision:
    """How logits become a probability, and from which probability an answer is called confident."""

    temperature: float
    threshold: float


def fit_decision(predictions: Predictions, precision: float) -> Decision:
    """Return the temperature and, for *precision* among confident answers, the threshold, fitted on *predictions*."""
    temperature = fit_temperature(predictions.logits_NK, predictions.classes_N)
    confidences_N = to_probabilities(predictions.logits_NK, temperature).max(axis=1)
    return Decision(temperature, choose_threshold(confidences_N, right_answers(predictions), precision))


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
    logits_NK, classes_N = predictions.logits_NK, predictions.classes_N
    scaled_NK = scale_held_out(logits_NK, classes_N) if fitted_here else logits_NK / decision.temperature
    right_N = right_answers(predictions)
    raw_N, scaled_N = (to_probabilities(logits).max(axis=1) for logits in (logits_NK, scaled_NK))
    per_class = _measure_classes(logits_NK.argmax(axis=1), classes_N, labels)
    present = [row for row in per_class.values() if row["photos"]]
    return {
        "summary": {
            "photos": float(len(photos)),
            **_measure_accuracy(logits_NK, classes_N, groups),
            **{f"macro_{name}": float(np.mean([row[name] for row in present])) for name in _CLASS_FIGURES},
            "nll": mean_nll(logits_NK, classes_N),
            "nll_scaled": mean_nll(scaled_NK, classes_N),
            "ece": calibration_error(raw_N, right_N),
            "ece_scaled": calibration_error(scaled_N, right_N),
            **_measure_confident(logits_NK, right_N, decision),
        },
        "per_class": per_class,
        "confusion": confusion_matrix(classes_N, logits_NK.argmax(axis=1), labels=range(len(labels))).tolist(),
        "reliability": reliability_bins(raw_N, right_N),
        "reliability_scaled": reliability_bins(scaled_N, right_N),
        "by_short_side": slice_accuracy(read_short_sides(photos), right_N),
        "by_brightness": slice_accuracy(predictions.brightness_N, right_N),
    }


def right_answers(predictions: Predictions) -> NDArray[np.bool_]:
    """Return for each photo whether its first label is right."""
    right_N: NDArray[np.bool_] = predictions.logits_NK.argmax(axis=1) == predictions.classes_N
    return right_N


def slice_accuracy(values_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the top-1 of each quarter of the photos, ordered by value; equal values are in one quarter."""
    edges = np.unique(np.quantile(values_N, np.linspace(0.0, 1.0, _NUM_SLICES + 1)))
    slices_N = np.searchsorted(edges[1:-1], values_N, side="right")
    return [
        {
            "from": float(values_N[slices_N == index].min()),
            "to": float(values_N[slices_N == index].max()),
            "photos": int((slices_N == index).sum()),
            "top1": float(right_N[slices_N == index].mean()),
        }
        for index in np.unique(slices_N)
    ]


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
    figures = {
        "top1": float((best_NK[:, 0] == classes_N).mean()),
        "top5": float((best_NK[:, :_TOP] == classes_N[:, None]).any(axis=1).mean()),
    }
    if groups is not None:
        groups_K = np.array(groups)
        figures["coarse_top1"] = float((groups_K[best_NK[:, 0]] == groups_K[classes_N]).mean())
    return figures


def _measure_confident(
    logits_NK: NDArray[np.float32], right_N: NDArray[np.bool_], decision: Decision
) -> dict[str, float]:
    confident_N = to_probabilities(logits_NK, decision.temperature).max(axis=1) >= decision.threshold
    figures = {"confident_share": float(confident_N.mean())}
    if confident_N.any():
        figures["confident_precision"] = float(right_N[confident_N].mean())
    return figures


def _measure_classes(
    best_N: NDArray[np.int64], classes_N: NDArray[np.int64], labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(classes_N, best_N, labels=range(len(labels)), zero_division=0.0)
    return {
        label: dict(zip((*_CLASS_FIGURES, "photos"), map(float, row), strict=True))
        for label, row in zip(labels, zip(*columns, strict=True), strict=True)
    }
