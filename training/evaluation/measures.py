"""Every figure of metrics.json: accuracy, calibration, per label, per slice. Axes: N photos, K class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support  # type: ignore[import-untyped]

from training.data.photo_set import Photo
from training.evaluation.calibration import calibration_error, mean_nll, reliability_bins, to_probabilities
from training.evaluation.decision import Decided
from training.evaluation.intervals import interval_of_calibration_error, interval_of_share
from training.evaluation.network_outputs import Predictions

_NUM_SLICES = 4
_NUM_SHARES = 40
_TOP = 5


def evaluate_split(
    predictions: Predictions,
    photos: Sequence[Photo],
    labels: Sequence[str],
    groups: Sequence[str] | None,
    decided: Decided,
) -> dict[str, Any]:
    """Return the figures of one split; `summary` holds the single numbers.

    *decided* is by a decision that was not fitted on the photo that it is for.
    """
    logits_NK, classes_N, right_N = predictions.logits_NK, predictions.classes_N, predictions.right
    answers_N, confident_N = logits_NK.argmax(axis=1), decided.confident_N
    raw_N, scaled_N = (to_probabilities(logits).max(axis=1) for logits in (logits_NK, decided.logits_NK))
    right = _find_right(logits_NK, classes_N, groups)
    per_class = _measure_classes(answers_N, classes_N, labels)
    present = [row for row in per_class.values() if row["photos"]]
    summary = {
        "photos": len(photos),
        **{name: found_N.mean() for name, found_N in right.items()},
        **{f"macro_{name}": np.mean([row[name] for row in present]) for name in ("precision", "recall", "f1")},
        "nll": mean_nll(logits_NK, classes_N),
        "nll_scaled": mean_nll(decided.logits_NK, classes_N),
        "ece": calibration_error(raw_N, right_N),
        "ece_scaled": calibration_error(scaled_N, right_N),
        "confident_share": confident_N.mean(),
        **({"confident_precision": right_N[confident_N].mean()} if confident_N.any() else {}),
    }
    return {
        "summary": {name: float(value) for name, value in summary.items()},
        "intervals": _measure_intervals(right, confident_N, scaled_N),
        "per_class": per_class,
        "confusion": confusion_matrix(classes_N, answers_N, labels=range(len(labels))).tolist(),
        "reliability": reliability_bins(raw_N, right_N),
        "reliability_scaled": reliability_bins(scaled_N, right_N),
        "coverage": measure_coverage(scaled_N, right_N),
        "by_short_side": slice_accuracy(read_short_sides(photos), right_N),
        "by_brightness": slice_accuracy(predictions.brightness_N, right_N),
    }


def measure_coverage(confidences_N: NDArray[np.floating], right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return the share of right answers among the most certain share of the photos, at 40 shares up to 1."""
    order = np.argsort(-confidences_N, kind="stable")
    precisions_N = np.cumsum(right_N[order]) / np.arange(1, len(order) + 1)
    counts = np.unique(np.ceil(np.linspace(0.0, 1.0, _NUM_SHARES + 1)[1:] * len(order)).astype(int))
    return [
        {
            "share": float(count / len(order)),
            "precision": float(precisions_N[count - 1]),
            "threshold": float(confidences_N[order][count - 1]),
        }
        for count in counts
    ]


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


def _find_right(
    logits_NK: NDArray[np.float32], classes_N: NDArray[np.int64], groups: Sequence[str] | None
) -> dict[str, NDArray[np.bool_]]:
    """Return by figure which photos are right: in the first label, the first five (of more) and the first's group."""
    best_NK = np.argsort(-logits_NK, axis=1, kind="stable")
    hits_NK = best_NK == classes_N[:, None]
    right = {"top1": hits_NK[:, 0]}
    if hits_NK.shape[1] > _TOP:
        right["top5"] = hits_NK[:, :_TOP].any(axis=1)
    if groups is not None:
        groups_K = np.array(groups)
        right["coarse_top1"] = groups_K[best_NK[:, 0]] == groups_K[classes_N]
    return right


def _measure_intervals(
    right: Mapping[str, NDArray[np.bool_]], confident_N: NDArray[np.bool_], confidences_N: NDArray[np.float64]
) -> dict[str, tuple[float, float]]:
    intervals = {name: interval_of_share(right[name]) for name in ("top1", "coarse_top1") if name in right}
    intervals["ece_scaled"] = interval_of_calibration_error(confidences_N, right["top1"])
    if confident_N.any():
        intervals["confident_precision"] = interval_of_share(right["top1"], confident_N)
    return intervals


def _measure_classes(
    answers_N: NDArray[np.int64], classes_N: NDArray[np.int64], labels: Sequence[str]
) -> dict[str, dict[str, float]]:
    columns = precision_recall_fscore_support(classes_N, answers_N, labels=range(len(labels)), zero_division=0.0)
    names = ("precision", "recall", "f1", "photos")
    rows = zip(*(column.astype(float).tolist() for column in columns), strict=True)
    return {label: dict(zip(names, row, strict=True)) for label, row in zip(labels, rows, strict=True)}
