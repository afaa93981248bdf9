import numpy as np
import pytest

from training.evaluation.calibration import (
    calibration_error,
    choose_threshold,
    fit_temperature,
    mean_nll,
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
def test_the_temperature_undoes_over_and_under_confidence(sharpness: float) -> None:
    logits_NK, classes_N = calibrated_logits(4000, sharpness)

    assert fit_temperature(logits_NK, classes_N) == pytest.approx(sharpness, rel=0.08)


def test_held_out_scaling_is_close_to_scaling_by_the_true_temperature() -> None:
    logits_NK, classes_N = calibrated_logits(4000, 3.0)

    scaled_NK = scale_held_out(logits_NK, classes_N)

    assert np.allclose(scaled_NK, logits_NK / 3.0, rtol=0.1)
    assert mean_nll(scaled_NK, classes_N) < mean_nll(logits_NK, classes_N)


def test_a_single_photo_has_no_others_to_fit_on_and_stays_as_it_is() -> None:
    logits_NK = np.array([[1.0, 2.0]])

    assert scale_held_out(logits_NK, np.array([0])).tolist() == [[1.0, 2.0]]


def test_the_nll_is_that_of_the_softmax() -> None:
    assert mean_nll(np.log([[0.25, 0.75]]), np.array([1])) == pytest.approx(-np.log(0.75))


def test_the_calibration_error_weighs_each_bin_by_its_photos() -> None:
    confidences_N = np.array([0.95, 0.95, 0.95, 0.55])
    right_N = np.array([True, True, False, True])

    error = calibration_error(confidences_N, right_N)

    assert error == pytest.approx(0.75 * (0.95 - 2 / 3) + 0.25 * (1 - 0.55))


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert reliability_bins(np.array([1.0]), np.array([True])) == [{"photos": 1, "confidence": 1.0, "accuracy": 1.0}]


@pytest.mark.parametrize(
    ("precision", "threshold"),
    [(1.0, 0.8), (0.75, 0.6), (0.5, 0.1)],
)
def test_the_threshold_is_the_least_that_keeps_the_precision(precision: float, threshold: float) -> None:
    confidences_N = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    right_N = np.array([True, True, False, True, False])

    assert choose_threshold(confidences_N, right_N, precision) == threshold


def test_photos_of_equal_confidence_are_on_the_same_side() -> None:
    confidences_N = np.array([0.9, 0.5, 0.5])
    right_N = np.array([True, True, False])

    assert choose_threshold(confidences_N, right_N, 1.0) == 0.9


def test_a_precision_out_of_reach_leaves_only_certain_answers() -> None:
    assert choose_threshold(np.array([0.9]), np.array([False]), 0.5) == 1.0
