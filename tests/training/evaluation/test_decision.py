import numpy as np
import pytest

from training.evaluation.calibration import mean_nll
from training.evaluation.decision import Decided, Decision, decide, decide_held_out, fit_decision, warn_of_few_photos

PRECISION = 0.95


def draw_answers(num_photos: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits_NK of ten labels that are twice too sharp, and classes_N; about 80 % are right."""
    random = np.random.default_rng(seed)
    logits_NK = random.normal(0.0, 1.0, (num_photos, 10)) + 6.0 * np.eye(10)[random.integers(10, size=num_photos)]
    logits_NK *= random.uniform(0.2, 1.2, (num_photos, 1))
    # The largest of logits with Gumbel noise has the distribution of their softmax.
    return 2.0 * logits_NK, (logits_NK + random.gumbel(size=logits_NK.shape)).argmax(axis=1)


def test_five_photos_that_are_all_right_neither_sharpen_the_logits_nor_give_a_threshold() -> None:
    decision = fit_decision(np.eye(5) * 4.0, np.arange(5), PRECISION)
    assert decision.temperature > 0.6
    assert decision.threshold == 1.0
    assert warn_of_few_photos(5, decision, PRECISION) == (
        "val has 5 photos, too few to show that 95% of confident answers are right, so no answer will be confident; "
        "about 270 would do"
    )


@pytest.mark.parametrize(
    ("num_photos", "precision", "advice"),
    [(500, 0.95, "lower evaluation.precision"), (500, 1.0, "evaluation.precision=0.95"), (20, 0.5, None)],
)
def test_a_warning_says_what_to_do(num_photos: int, precision: float, advice: str | None) -> None:
    decision = Decision(1.0, 0.8 if advice is None else 1.0)
    warning = warn_of_few_photos(num_photos, decision, precision)
    assert (warning is None) if advice is None else (advice in str(warning))


@pytest.mark.parametrize("num_photos", [150, 300])
def test_figures_of_the_photos_it_was_fitted_on_hold_on_others(num_photos: int) -> None:
    others_NK, classes_of_others = draw_answers(20_000, seed=0)
    own, other = [], []
    for seed in range(1, 31):
        logits_NK, classes_N = draw_answers(num_photos, seed)
        own.append(measure(decide_held_out(logits_NK, classes_N, PRECISION), classes_N))
        decision = fit_decision(logits_NK, classes_N, PRECISION)
        other.append(measure(decide(others_NK, decision), classes_of_others))
    (own_right, own_confident, own_nll), (other_right, other_confident, other_nll) = np.mean(own, 0), np.mean(other, 0)
    assert own_right / own_confident == pytest.approx(other_right / other_confident, abs=0.015)
    assert own_confident == pytest.approx(other_confident, abs=0.08)
    assert own_nll == pytest.approx(other_nll, abs=0.03)
    assert other_right / other_confident >= PRECISION


def measure(decided: Decided, classes_N: np.ndarray) -> tuple[float, float, float]:
    """Return the shares of right confident and of confident answers, and the NLL."""
    right_N = decided.logits_NK.argmax(axis=1) == classes_N
    return (
        float((right_N & decided.confident_N).mean()),
        float(decided.confident_N.mean()),
        mean_nll(decided.logits_NK, classes_N),
    )


def test_a_single_photo_is_not_scaled() -> None:
    decided = decide_held_out(np.array([[1.0, 2.0]]), np.array([0]), PRECISION)
    assert decided.logits_NK.tolist() == [[1.0, 2.0]]
    assert not decided.confident_N.any()
