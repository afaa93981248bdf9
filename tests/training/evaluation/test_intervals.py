import numpy as np
import pytest

from training.evaluation.calibration import calibration_error
from training.evaluation.intervals import interval_of_calibration_error, interval_of_share


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    low, high = interval_of_share(np.arange(400) < 340)
    assert low == pytest.approx(0.85 - 1.96 * np.sqrt(0.85 * 0.15 / 400), abs=0.005)
    assert high == pytest.approx(0.85 + 1.96 * np.sqrt(0.85 * 0.15 / 400), abs=0.005)
    assert interval_of_share(np.arange(400) < 340) == (low, high)


def test_the_interval_of_a_share_of_some_photos_is_as_wide_as_for_them_alone() -> None:
    right_N, confident_N = np.arange(400) % 10 > 0, np.arange(400) < 100
    low, high = interval_of_share(right_N, confident_N)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / 100), abs=0.02)


@pytest.mark.parametrize(("right", "interval"), [(True, (0.478, 1.0)), (False, (0.0, 0.522))])
def test_five_answers_that_are_all_right_do_not_prove_perfection(right: bool, interval: tuple[float, float]) -> None:
    assert interval_of_share(np.full(5, right)) == pytest.approx(interval, abs=0.001)


def test_the_interval_of_the_calibration_error_holds_the_true_one() -> None:
    random = np.random.default_rng(0)
    confidences_N = random.uniform(0.3, 1.0, 300)
    perfect_N, overconfident_N = (random.uniform(size=300) < confidences_N - gap for gap in (0.0, 0.15))
    assert interval_of_calibration_error(confidences_N, perfect_N)[0] == 0.0
    low, high = interval_of_calibration_error(confidences_N, overconfident_N)
    assert 0.07 < low < 0.15 < high < 0.23
    assert low < calibration_error(confidences_N, overconfident_N) <= high
