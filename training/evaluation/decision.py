"""What becomes of logits: a probability by the temperature, and confident or not by the threshold.

Figures of the photos that both were fitted on are better than those of new photos, so each of these photos is scaled
and judged by a decision that was fitted on others (k-fold cross-fitting). Axes: N photos, K class.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.evaluation.calibration import (
    Floats,
    Indices,
    choose_threshold,
    count_shown,
    fit_temperature,
    to_probabilities,
)

_NUM_FOLDS = 10
_VAL_PHOTOS_PER_SHOWN = 6
"""Val photos for each confident answer that a threshold needs. Of random parts of Grocery Store's val of 148 photos, a
fifth (a network of top-1 0.83) to three quarters (one of 0.84) had no threshold for a precision of 95 %; all 296 gave
both networks one."""


class Decision(NamedTuple):
    """How logits become a probability, and from which probability an answer is called confident."""

    temperature: float
    threshold: float


class Decided(NamedTuple):
    """The logits of photos, divided by the temperature, and for each photo whether its answer is confident."""

    logits_NK: NDArray[np.float64]
    confident_N: NDArray[np.bool_]


def fit_decision(logits_NK: Floats, classes_N: Indices, precision: float) -> Decision:
    """Return the temperature and the threshold for *precision* among confident answers; a threshold of 1 is none."""
    temperature = fit_temperature(logits_NK, classes_N)
    confidences_N = to_probabilities(logits_NK, temperature).max(axis=1)
    return Decision(temperature, choose_threshold(confidences_N, logits_NK.argmax(axis=1) == classes_N, precision))


def decide(logits_NK: Floats, decision: Decision) -> Decided:
    scaled_NK = logits_NK.astype(np.float64) / decision.temperature
    return Decided(scaled_NK, to_probabilities(scaled_NK).max(axis=1) >= decision.threshold)


def decide_held_out(logits_NK: Floats, classes_N: Indices, precision: float) -> Decided:
    """Return what becomes of each photo by the decision fitted on the other 9 of 10 random folds."""
    decided = decide(logits_NK, Decision(1.0, 1.0))
    order = np.random.default_rng(0).permutation(len(classes_N))
    for fold in np.array_split(order, min(_NUM_FOLDS, len(order))):
        others = np.setdiff1d(order, fold)
        if len(others):
            decision = fit_decision(logits_NK[others], classes_N[others], precision)
            decided.logits_NK[fold], decided.confident_N[fold] = decide(logits_NK[fold], decision)
    return decided


def warn_of_few_photos(num_photos: int, decision: Decision, precision: float) -> str | None:
    """Return what *num_photos* of val could not show, and how many would do; None where they showed it."""
    if decision.threshold < 1.0:
        return None
    wish = f"that {precision:.0%} of confident answers are right"
    if precision >= 1.0:
        return f"no number of photos shows {wish}, so no answer will be confident; ask for evaluation.precision=0.95"
    num_needed = _VAL_PHOTOS_PER_SHOWN * count_shown(precision)
    if num_photos < num_needed:
        return (
            f"val has {num_photos} photos, too few to show {wish}, so no answer will be confident; about {num_needed} "
            "would do"
        )
    return (
        f"no threshold shows {wish} on the {num_photos} photos of val, so no answer will be confident; "
        "lower evaluation.precision or train longer"
    )
