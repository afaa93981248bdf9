"""Calibration: the temperature, the calibration error and the confidence threshold. Axes: N photos, K class."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from scipy.special import log_softmax, softmax  # type: ignore[import-untyped]
from scipy.stats import beta  # type: ignore[import-untyped]

Floats = NDArray[np.floating]
Indices = NDArray[np.integer]

_NUM_BINS = 15
_NUM_PRIOR_PHOTOS = 10
"""Weight of the prior that the temperature is 1. 5 photos of Grocery Store alone gave 0.05 to 1.8, with it 0.74 to 1.4;
at 300 photos it moves the logarithm by a tenth at most."""
_RISK = 0.1
"""Probability that a threshold's precision is lower than asked, for one threshold."""


def fit_temperature(logits_NK: Floats, classes_N: Indices) -> float:
    """Return the most probable temperature in [0.05, 20] (Guo et al., ICML 2017), near 1 for few photos.

    The prior of its logarithm is a Gaussian around 0: it weighs as much as 10 photos, each of which costs half the
    squared logarithm in nats.
    """
    num_photos = len(classes_N)
    found = minimize_scalar(
        lambda log_temperature: (
            num_photos * mean_nll(logits_NK / np.exp(log_temperature), classes_N)
            + _NUM_PRIOR_PHOTOS * log_temperature**2 / 2
        ),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def mean_nll(logits_NK: Floats, classes_N: Indices) -> float:
    """Return the mean negative log-likelihood, in nats."""
    return float(-log_softmax(logits_NK, axis=1)[np.arange(len(classes_N)), classes_N].mean())


def to_probabilities(logits_NK: Floats, temperature: float = 1.0) -> NDArray[np.float64]:
    probabilities_NK: NDArray[np.float64] = softmax(logits_NK.astype(np.float64) / temperature, axis=1)
    return probabilities_NK


def bin_confidences(confidences_N: Floats) -> NDArray[np.int64]:
    """Return for each confidence the index of its bin, of 15 equal ones."""
    return np.minimum((confidences_N * _NUM_BINS).astype(np.int64), _NUM_BINS - 1)


def reliability_bins(confidences_N: Floats, right_N: NDArray[np.bool_]) -> list[dict[str, float]]:
    """Return photos, mean confidence and accuracy of each of 15 equal bins of confidence that is not empty."""
    bins_N = bin_confidences(confidences_N)
    return [
        {
            "photos": int((bins_N == index).sum()),
            "confidence": float(confidences_N[bins_N == index].mean()),
            "accuracy": float(right_N[bins_N == index].mean()),
        }
        for index in np.unique(bins_N)
    ]


def calibration_error(confidences_N: Floats, right_N: NDArray[np.bool_], counts_N: Floats | None = None) -> float:
    """Return the expected calibration error over 15 equal bins, in [0, 1]; each photo counts *counts_N* times, or once.

    Also a perfect model has one above 0 on few photos.
    """
    counts_N = np.ones(len(right_N)) if counts_N is None else counts_N
    gaps = np.bincount(bin_confidences(confidences_N), weights=counts_N * (confidences_N - right_N))
    return float(np.abs(gaps).sum() / counts_N.sum())


def choose_threshold(confidences_N: Floats, right_N: NDArray[np.bool_], precision: float) -> float:
    """Return the least confidence at and above which at least *precision* of the answers are right on new photos, too.

    That is shown where the lower bound of the share of right answers reaches it. 1.0 if no threshold does: then only a
    certain answer is called confident.
    """
    order = np.argsort(-confidences_N, kind="stable")
    thresholds_N = confidences_N[order]
    num_right_N, num_N = np.cumsum(right_N[order], dtype=np.int64), np.arange(1, len(order) + 1)
    # Photos of one confidence are confident together.
    last_N = np.append(thresholds_N[1:] != thresholds_N[:-1], True)
    shown_N = last_N & (bound_share(num_right_N, num_N) >= precision)
    return float(thresholds_N[shown_N].min(initial=1.0))


def bound_share(num_right: NDArray[np.int64], num: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lower 90 % confidence bound of a share of *num_right* in *num* (Clopper and Pearson, 1934)."""
    bounds: NDArray[np.float64] = np.nan_to_num(beta.ppf(_RISK, num_right, num - num_right + 1))
    return bounds


def count_shown(precision: float) -> int:
    """Return the fewest confident answers, all right, that show *precision*."""
    return math.ceil(math.log(_RISK) / math.log(precision)) if 0 < precision < 1 else 1
