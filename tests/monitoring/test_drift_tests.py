from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from handler.drift_reference import STATISTICS, DriftReference, Histogram
from handler.engine import Floats
from monitoring.drift_level import LEVEL, MIX_SHARE, NUM_PERMUTATIONS, OTHER_SHARE, Comparison, adjust
from monitoring.drift_tests import STATISTIC_TOLERANCES, Window, compare_window

NUM_LABELS = 40
LABELS = [f"label {k}" for k in range(NUM_LABELS)]


def draw(num_photos: int, seed: int) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    return {name: rng.beta(4, 4, num_photos).astype(np.float32) for name in STATISTICS}


def draw_counts(weights_K: Floats, seed: int, num_photos: int = 200) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_photos, weights_K / weights_K.sum()).astype(np.float32)


UNIFORM_K = np.ones(NUM_LABELS, np.float32)
REFERENCE = DriftReference(
    num_photos=300,
    label_shares_K=np.full(NUM_LABELS, 1 / NUM_LABELS, np.float32),
    train_counts_K=60 * UNIFORM_K,
    # The bins are for the metrics.
    histograms={
        name: Histogram((), (1.0,), values_N.astype(np.float16).astype(np.float32))
        for name, values_N in draw(300, seed=0).items()
    },
    embeddings_ND=np.zeros((300, 2), np.float32),
)


def find(
    statistics: Mapping[str, Floats], counts_K: Floats, reference: DriftReference = REFERENCE
) -> dict[str, Comparison]:
    found = compare_window(Window(statistics, counts_K, None), reference, None, LABELS)
    return {comparison.name: comparison for comparison in found if comparison.drifted}


def test_windows_of_the_same_photos_as_the_reference_have_not_drifted() -> None:
    found = [find(draw(200, seed), draw_counts(UNIFORM_K, seed)) for seed in range(1, 51)]

    assert found == [{}] * 50


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_that_moves_is_found_and_no_other(name: str) -> None:
    sign = -1 if STATISTIC_TOLERANCES[name].direction == "less" else 1
    statistics = draw(200, seed=1)

    found = find({**statistics, name: statistics[name] + sign * np.float32(0.25)}, draw_counts(UNIFORM_K, 1))

    assert set(found) == {name}
    assert (found[name].after - found[name].before) * sign == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(("name", "shift"), [("confidence", 0.3), ("entropy", -0.3), ("unfamiliarity", -0.3)])
def test_a_more_certain_model_and_more_familiar_photos_are_no_drift(name: str, shift: float) -> None:
    statistics = draw(200, seed=1)

    assert find({**statistics, name: statistics[name] + np.float32(shift)}, draw_counts(UNIFORM_K, 1)) == {}


def test_a_difference_as_between_shops_is_no_drift_however_many_photos_show_it() -> None:
    statistics = draw(5000, seed=1)
    moved = {**statistics, "brightness": statistics["brightness"] + np.float32(0.07)}

    found = compare_window(Window(moved, draw_counts(UNIFORM_K, 1, 5000), None), REFERENCE, None, LABELS)

    brightness = next(comparison for comparison in found if comparison.name == "brightness")
    assert brightness.p < 1e-4
    assert not brightness.drifted


def test_a_third_of_the_labels_gone_is_another_mix() -> None:
    weights_K = UNIFORM_K.copy()
    weights_K[: NUM_LABELS // 3] = 0

    assert "mix of labels" in find(draw(200, seed=1), draw_counts(weights_K, 1))


def test_the_number_of_permutations_lets_each_test_reach_its_share_of_the_level() -> None:
    least_p = 1 / (1 + NUM_PERMUTATIONS)

    assert adjust(least_p, 1, OTHER_SHARE) < LEVEL
    assert adjust(least_p, 1, MIX_SHARE) < LEVEL


def test_a_mix_that_is_far_from_train_but_near_to_val_costs_no_permutations() -> None:
    """Its p-value was computed and not used."""
    train_K = np.arange(1, NUM_LABELS + 1, dtype=np.float32) ** 2
    window = Window(draw(200, seed=1), draw_counts(UNIFORM_K, 1), None)

    found = compare_window(window, replace(REFERENCE, train_counts_K=train_K), None, LABELS)

    mix = next(comparison for comparison in found if comparison.name == "mix of labels")
    assert mix.effect < mix.tolerance
    assert mix.p == 1.0


def test_neither_the_mix_of_val_nor_that_of_train_is_drift() -> None:
    statistics, train_K = draw(200, seed=1), np.arange(1, NUM_LABELS + 1, dtype=np.float32) ** 2
    reference = replace(REFERENCE, train_counts_K=train_K)

    assert find(statistics, draw_counts(UNIFORM_K, 1), reference) == {}
    assert find(statistics, draw_counts(train_K, 1), reference) == {}
    assert "mix of labels" in find(statistics, draw_counts(train_K[::-1], 1), reference)


def test_a_label_that_rises_is_named() -> None:
    weights_K = UNIFORM_K.copy()
    weights_K[7] = 8

    found = find(draw(200, seed=1), draw_counts(weights_K, 1))["label 7"]

    assert found.before == pytest.approx(1 / NUM_LABELS)
    assert found.after == pytest.approx(8 / (NUM_LABELS + 7), abs=0.05)


def test_a_statistic_that_the_log_lacks_is_left_out() -> None:
    window = Window({**draw(200, seed=1), "unfamiliarity": np.zeros(0, np.float32)}, draw_counts(UNIFORM_K, 1), None)

    found = compare_window(window, REFERENCE, None, LABELS)

    assert {comparison.name for comparison in found} == {*STATISTICS, "mix of labels"} - {"unfamiliarity"}
