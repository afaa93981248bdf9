"""Calibration: the temperature, the calibration error and the confidence threshold. Axes: N photos, K class."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from scipy.special import log_softmax, softmax  # type: ignore[import-untyped]
from sklearn.metrics import precision_recall_curve  # type: ignore[import-untyped]

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]

_NUM_BINS = 15
_NUM_FOLDS = 5


def fit_temperature(logits_NK: Floats, classes_N: Indices) -> float:
    """Return the temperature in [0.05, 20] of the least negative log-likelihood (Guo et al., ICML 2017)."""
    found = minimize_scalar(
        lambda log_temperature: mean_nll(logits_NK / np.exp(log_temperature), classes_N),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def scale_held_out(logits_NK: Floats, classes_N: Indices, seed: int = 0) -> Floats:
    """Return the logits, each scaled by a temperature fitted on the other photos (5 folds).

    Figures of the photos that a temperature was fitted on are better than those of new photos.
    """
    scaled_NK = logits_NK.astype(np.float64)
    order = np.random.default_rng(seed).permutation(len(classes_N))
    for fold in np.array_split(order, min(_NUM_FOLDS, len(order))):
        others = np.setdiff1d(order, fold)
        if len(others):
            scaled_NK[fold] /= fit_temperature(logits_NK[others], classes_N[others])
    return scaled_NK


def mean_nll(logits_NK: Floats, classes_N: Indices) -> float:
    """Return the mean negative log-likelihood, in nats."""
    return float(-log_softmax(logits_NK, axis=1)[np.arange(len(classes_N)), classes_N].mean())


def to_probabilities(logits_NK: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    probabilities_NK: NDArray[np.float64] = softmax(logits_NK.astype(np.float64) / temperature, axis=1)
    return probabilities_NK


def reliability_bins(confidences_N: Floats, right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return photos, mean confidence and accuracy of each of 15 equal bins of confidence that is not empty."""
    bins_N = np.minimum((confidences_N * _NUM_BINS).astype(int), _NUM_BINS - 1)
    return [
        {
            "photos": int((bins_N == index).sum()),
            "confidence": float(confidences_N[bins_N == index].mean()),
            "accuracy": float(right_N[bins_N == index].mean()),
        }
        for index in np.unique(bins_N)
    ]


def calibration_error(confidences_N: Floats, right_N: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over 15 equal bins, in [0, 1]."""
    bins = reliability_bins(confidences_N, right_N)
    return float(sum(b["photos"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(right_N))


def choose_threshold(confidences_N: Floats, right_N: NDArray[np.bool_], precision: float) -> float:
    """Return the least confidence at and above which at least *precision* of the answers are right.

    1.0 if no threshold reaches that: then only a certain answer is called confident.
    """
    if not right_N.any():
        return 1.0
    precisions, _, thresholds = precision_recall_curve(right_N, confidences_N)
    return float(thresholds[precisions[:-1] >= precision].min(initial=1.0))
