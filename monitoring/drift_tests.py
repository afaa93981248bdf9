"""Tests of one window of photos against the drift reference, at one level for all of them together.

Axes: N photos of the window, M of the reference, K class, R direction of the embedding, T trials of a permutation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats  # type: ignore[import-untyped]
from sklearn.metrics.pairwise import rbf_kernel  # type: ignore[import-untyped]

from handler.drift_reference import DriftReference, Histogram
from handler.engine import Floats

FALSE_ALARMS_A_WEEK = 0.05
LOOKS_A_WEEK = 7 * 24
"""New windows a week, one an hour, for which the promise above holds."""
LEVEL = FALSE_ALARMS_A_WEEK / LOOKS_A_WEEK
"""Of a window: Bonferroni over a week's windows, so that it does not matter how often one looks at them."""

Kind = Literal["label shift", "photo shift", "answer shift", "embedding shift"]
Direction = Literal["two-sided", "greater", "less"]

_NUM_FAMILIES = 5
# A permutation's least p-value, times the families, must be below the level.
_TRIALS = 20_000
_TRIALS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Tolerance:
    """The least effect that counts as drift, above what photos of other shops differ by (docs/decisions/0021)."""

    effect: float
    direction: Direction = "two-sided"
    """Only a less certain model, or less familiar photos, are a reason to act."""


STATISTIC_TOLERANCES: Mapping[str, Tolerance] = {
    "brightness": Tolerance(0.30),
    "contrast": Tolerance(0.40),
    "sharpness": Tolerance(0.30),
    "anisotropy": Tolerance(0.28),
    "confidence": Tolerance(0.25, "less"),
    "entropy": Tolerance(0.25, "greater"),
    "unfamiliarity": Tolerance(0.30, "greater"),
}
"""Largest distances between two distributions (Kolmogorov-Smirnov), in [0, 1]."""
_ANSWERS = {"confidence", "entropy", "unfamiliarity"}
_COORDINATE_TOLERANCE = 0.40
_MMD_TOLERANCE = 0.16
_MIX_TOLERANCE = 0.35
_SHARE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Window:
    """What the tests see of a window."""

    statistics: Mapping[str, Floats]
    """By name, one value a photo that has it."""
    counts_K: Floats
    """Photos by their first label."""
    coordinates_NR: Floats | None


@dataclass(frozen=True)
class Comparison:
    kind: Kind
    name: str
    effect: float
    tolerance: float
    p: float
    """Times the number of tests of the window; 1 where the effect is within the tolerance."""
    before: float
    """In the reference: a median, or a share."""
    after: float

    @property
    def drifted(self) -> bool:
        return self.effect >= self.tolerance and self.p <= LEVEL


def compare_window(
    window: Window, reference: DriftReference, reference_MR: Floats | None, labels: Sequence[str]
) -> list[Comparison]:
    """Return the result of each test that *reference* and *window* allow; *reference_MR* are its coordinates."""
    results = [*_test_statistics(window, reference), *_test_labels(window.counts_K, reference, labels)]
    if window.coordinates_NR is not None and reference_MR is not None:
        results.append(_test_coordinates(window.coordinates_NR, reference_MR))
        if not results[-1].drifted:
            # It sees what no single direction shows, and takes the longest.
            results.append(_test_mmd(window.coordinates_NR, reference_MR))
    return results


def _test_statistics(window: Window, reference: DriftReference) -> Iterator[Comparison]:
    tested = [name for name in STATISTIC_TOLERANCES if name in reference.histograms and len(window.statistics[name])]
    for name in tested:
        tolerance, histogram, values_N = STATISTIC_TOLERANCES[name], reference.histograms[name], window.statistics[name]
        before_M, after_N = _make_comparable(histogram, values_N, reference.num_photos)
        # SciPy compares distribution functions: values that are greater have a lesser one.
        alternative = {"greater": "less", "less": "greater"}.get(tolerance.direction, "two-sided")
        found = stats.ks_2samp(after_N, before_M, alternative=alternative, method="asymp")
        yield Comparison(
            "answer shift" if name in _ANSWERS else "photo shift",
            name,
            float(found.statistic),
            tolerance.effect,
            _adjust(found.pvalue, len(tested)),
            _median(histogram),
            float(np.median(values_N)),
        )


def _median(histogram: Histogram) -> float:
    if histogram.samples_N is not None:
        return float(np.median(histogram.samples_N))
    return float(np.median(histogram.edges))


def _make_comparable(histogram: Histogram, values_N: Floats, num_photos: int) -> tuple[Floats, Floats]:
    """Return samples of the reference and of the window: values, or bins where the reference has no values."""
    if histogram.samples_N is not None:
        # The reference's are rounded to float16, and the test must not see that.
        return histogram.samples_N, values_N.astype(np.float16).astype(np.float32)
    counts = np.rint(np.array(histogram.shares) * num_photos).astype(int)
    return (
        np.repeat(np.arange(len(counts)), counts).astype(np.float32),
        np.searchsorted(histogram.edges, values_N, side="right").astype(np.float32),
    )


def _test_labels(after_K: Floats, reference: DriftReference, labels: Sequence[str]) -> Iterator[Comparison]:
    before_K = reference.train_counts_K
    if before_K is None:
        before_K = np.rint(reference.label_shares_K * reference.num_photos)
    yield _test_mix(after_K, before_K)
    seen = np.flatnonzero(before_K + after_K)
    shares_before_K, shares_after_K = before_K / before_K.sum(), after_K / after_K.sum()
    for k in seen[np.abs(shares_after_K - shares_before_K)[seen] >= _SHARE_TOLERANCE]:
        table = [[after_K[k], after_K.sum() - after_K[k]], [before_K[k], before_K.sum() - before_K[k]]]
        p = stats.fisher_exact(np.array(table, dtype=int)).pvalue
        before, after = float(shares_before_K[k]), float(shares_after_K[k])
        yield Comparison(
            "label shift", labels[k], abs(after - before), _SHARE_TOLERANCE, _adjust(p, len(seen)), before, after
        )


def _test_mix(after_K: Floats, before_K: Floats) -> Comparison:
    """Test the mix of the labels by chi-square, whose p-value is by permutation because many labels are rare.

    The effect is the estimate of chi-square's w² (Cohen, 1988), from which chance is taken off.
    """
    total_K = (before_K + after_K)[before_K + after_K > 0].astype(np.int64)
    num_after, num = int(after_K.sum()), int(total_K.sum())
    expected_K = total_K * (num_after / num)

    def chi_square(counts_TK: Floats) -> Floats:
        # The other row of the table has the same differences.
        differences_TK = (counts_TK - expected_K) ** 2 / expected_K
        return differences_TK.sum(axis=-1) * num / (num - num_after)  # type: ignore[no-any-return]

    found = float(chi_square(after_K[before_K + after_K > 0]))
    effect = max(0.0, (found - len(total_K) + 1) / (num_after * (num - num_after) / num))
    p = 1.0
    if effect >= _MIX_TOLERANCE:
        rng = np.random.default_rng(0)
        drawn_TK = rng.multivariate_hypergeometric(total_K, num_after, size=_TRIALS, method="marginals")
        p = (1 + np.count_nonzero(chi_square(drawn_TK.astype(np.float32)) >= found)) / (1 + _TRIALS)
    return Comparison("label shift", "mix of labels", effect, _MIX_TOLERANCE, _adjust(p, 1), 0.0, effect)


def _test_coordinates(after_NR: Floats, before_MR: Floats) -> Comparison:
    """Test each coordinate by Kolmogorov-Smirnov and return the one that differs most (Rabanser et al., 2019)."""
    r = int(np.argmax(_measure_distances(after_NR, before_MR)))
    found = stats.ks_2samp(after_NR[:, r], before_MR[:, r], method="asymp")
    return Comparison(
        "embedding shift",
        f"embedding, direction {r + 1}",
        float(found.statistic),
        _COORDINATE_TOLERANCE,
        _adjust(found.pvalue, after_NR.shape[1]),
        float(np.median(before_MR[:, r])),
        float(np.median(after_NR[:, r])),
    )


def _measure_distances(after_NR: Floats, before_MR: Floats) -> Floats:
    """Return the distances_R of Kolmogorov and Smirnov, where no values are equal."""
    order_PR = np.argsort(np.concatenate([after_NR, before_MR]), axis=0)
    steps_PR = np.where(order_PR < len(after_NR), 1 / len(after_NR), -1 / len(before_MR))
    return np.abs(np.cumsum(steps_PR, axis=0)).max(axis=0)  # type: ignore[no-any-return]


def _test_mmd(after_NR: Floats, before_MR: Floats) -> Comparison:
    """Test all coordinates together by the maximum mean discrepancy (Gretton et al., 2012), by permutation."""
    num, num_all = len(after_NR), len(after_NR) + len(before_MR)
    both = np.concatenate([after_NR, before_MR]).astype(np.float32)
    kernel = rbf_kernel(both, gamma=1 / _median_square(before_MR)).astype(np.float32)
    np.fill_diagonal(kernel, 0)
    of_after, of_before = num * (num - 1), (num_all - num) * (num_all - num - 1)

    def squared(after_TP: Floats) -> Floats:
        """Return the unbiased estimate where *after_TP* is 1 for the photos of the window and 0 for the others."""
        rows_TP = after_TP @ kernel
        within = (rows_TP * after_TP).sum(axis=1)
        across = rows_TP.sum(axis=1) - within
        return (  # type: ignore[no-any-return]
            within / of_after + (kernel.sum() - within - 2 * across) / of_before - 2 * across / (num * (num_all - num))
        )

    is_after_P = (np.arange(num_all) < num).astype(np.float32)
    found = float(squared(is_after_P[None])[0])
    effect = float(np.sqrt(max(found, 0.0)))
    p = 1.0
    if effect >= _MMD_TOLERANCE:
        rng, num_reached = np.random.default_rng(0), 0
        for _ in range(_TRIALS // _TRIALS_AT_ONCE):
            drawn_TP = rng.permuted(np.tile(is_after_P, (_TRIALS_AT_ONCE, 1)), axis=1)
            num_reached += int(np.count_nonzero(squared(drawn_TP) >= found))
        p = (1 + num_reached) / (1 + _TRIALS)
    return Comparison("embedding shift", "embedding, MMD", effect, _MMD_TOLERANCE, _adjust(p, 1), 0.0, effect)


def _median_square(before_MR: Floats) -> float:
    """Return the median squared distance of two photos of the reference: the usual width of the kernel."""
    squares_M = (before_MR**2).sum(axis=1)
    squares_MM = squares_M[:, None] + squares_M - 2 * before_MR @ before_MR.T
    return float(max(np.median(squares_MM[np.triu_indices(len(before_MR), 1)]), np.finfo(np.float32).tiny))


def _adjust(p: float, num_tests: int) -> float:
    return float(min(1.0, p * num_tests * _NUM_FAMILIES))
