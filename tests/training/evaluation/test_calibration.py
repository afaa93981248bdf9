import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from training.evaluation.calibration import (
    calibration_error,
    choose_threshold,
    fit_temperature,
    reliability_bins,
    scale_held_out,
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
    assert np.allclose(scale_held_out(logits_NK, classes_N), logits_NK / sharpness, rtol=0.1)


def test_a_single_photo_is_not_scaled() -> None:
    assert scale_held_out(np.array([[1.0, 2.0]]), np.array([0])).tolist() == [[1.0, 2.0]]


def test_the_calibration_error_is_that_of_torchmetrics() -> None:
    logits_NK, classes_N = calibrated_logits(500, 3.0)
    probabilities_NK = to_probabilities(logits_NK)
    error = calibration_error(probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == classes_N)
    tensors = torch.from_numpy(probabilities_NK), torch.from_numpy(classes_N)
    assert error == pytest.approx(float(multiclass_calibration_error(*tensors, num_classes=5, n_bins=15)), abs=1e-6)


def test_a_confidence_of_1_is_in_the_last_bin() -> None:
    bins = reliability_bins(np.array([0.95, 1.0]), np.array([True, True]))
    assert bins == [{"photos": 2, "confidence": 0.975, "accuracy": 1.0}]


@pytest.mark.parametrize(
    ("confidences", "right", "precision", "threshold"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.1], [True, True, False, True, False], 1.0, 0.8),
        ([0.1, 0.8, 0.7, 0.6, 0.9], [False, True, False, True, True], 0.75, 0.6),
        ([0.9, 0.8, 0.7, 0.6, 0.1], [True, True, False, True, False], 0.5, 0.1),
        ([0.9, 0.5, 0.5], [True, True, False], 1.0, 0.9),
        ([0.9, 0.8], [False, True], 0.6, 1.0),
        ([0.9], [False], 0.5, 1.0),
    ],
    ids=["certain", "unordered", "all", "equal confidences", "precision not reached", "all wrong"],
)
def test_the_threshold_is_the_least_that_keeps_the_precision(
    confidences: list[float], right: list[bool], precision: float, threshold: float
) -> None:
    assert choose_threshold(np.array(confidences), np.array(right), precision) == threshold
