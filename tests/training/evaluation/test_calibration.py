import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from training.evaluation.calibration import (
    bound_share,
    calibration_error,
    choose_threshold,
    count_shown,
    fit_temperature,
    reliability_bins,
    to_probabilities,
)


def calibrated_logits(num_photos: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits whose softmax is right once it is divided by *sharpness*, and classes drawn from it."""
    random = np.random.default_rng(0)
    logits_NK = random.normal(0.0, 2.0, (num_photos, 5))
    classes_N = np.array([random.choice(5, p=row) for row in to_probabilities(logits_NK)])
    return logits_NK * sharpness, classes_N


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_corrects_over_and_under_confidence(sharpness: float) -> None:
    logits_NK, classes_N = calibrated_logits(4000, sharpness)
    assert fit_temperature(logits_NK, classes_N) == pytest.approx(sharpness, rel=0.08)


def test_few_photos_leave_the_temperature_near_1() -> None:
    # The likelihood alone has no maximum: all five are right.
    assert 0.6 < fit_temperature(np.eye(5) * 4.0, np.arange(5)) < 1.0
    assert fit_temperature(np.eye(5) * 4.0, np.roll(np.arange(5), 1)) < 2.5


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    logits_NK, classes_N = calibrated_logits(500, 3.0)
    probabilities_NK = to_probabilities(logits_NK)
    error = calibration_error(probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == classes_N)
    tensors = torch.from_numpy(probabilities_NK), torch.from_numpy(classes_N)
    assert error == pytest.approx(float(multiclass_calibration_error(*tensors, num_classes=5, n_bins=15)), abs=1e-6)


def test_a_confidence_of_1_is_in_the_last_bin() -> None:
    bins = reliability_bins(np.array([0.95, 1.0]), np.array([True, True]))
    assert bins == [{"photos": 2, "confidence": 0.975, "accuracy": 1.0}]


def test_a_photo_that_counts_twice_weighs_twice_in_the_calibration_error() -> None:
    confidences_N, right_N = np.array([0.9, 0.2]), np.array([True, True])
    assert calibration_error(confidences_N, right_N, np.array([3.0, 1.0])) == pytest.approx((3 * 0.1 + 0.8) / 4)


@pytest.mark.parametrize(
    ("num_right", "num_wrong", "precision", "threshold"),
    [(45, 0, 0.95, 0.9), (44, 0, 0.95, 1.0), (110, 2, 0.95, 0.9), (100, 2, 0.95, 1.0), (5, 0, 0.5, 0.9)],
)
def test_a_threshold_needs_enough_photos_to_show_the_precision(
    num_right: int, num_wrong: int, precision: float, threshold: float
) -> None:
    right_N = np.array([True] * num_right + [False] * num_wrong)
    assert choose_threshold(np.full(len(right_N), 0.9), right_N, precision) == threshold


def test_the_threshold_is_the_least_that_keeps_the_precision() -> None:
    confidences_N = np.linspace(0.01, 0.99, 99)
    right_N = confidences_N > 0.4
    threshold = choose_threshold(confidences_N, right_N, precision=0.9)
    assert threshold == pytest.approx(0.39)  # 59 of 61 right
    permutation = np.random.default_rng(0).permutation(99)
    assert choose_threshold(confidences_N[permutation], right_N[permutation], precision=0.9) == threshold


def test_answers_that_are_all_wrong_have_no_threshold() -> None:
    assert choose_threshold(np.linspace(0.5, 0.9, 100), np.zeros(100, bool), precision=0.5) == 1.0


@pytest.mark.parametrize(("precision", "num"), [(0.95, 45), (0.9, 22), (0.5, 4)])
def test_the_fewest_photos_that_show_a_precision_are_known(precision: float, num: int) -> None:
    assert count_shown(precision) == num
    assert (
        bound_share(np.array([num]), np.array([num]))[0]
        >= precision
        > bound_share(np.array([num - 1]), np.array([num - 1]))[0]
    )
