"""Tests of one window of photos against the drift reference, at one level for all of them together.

Axes: N photos of the window, M of the reference, K class, R direction of the embedding, T trials of a permutation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from handler.drift_reference import DriftReference, Histogram
from handler.engine import Floats
from monitoring.drift_level import MIX_SHARE, NUM_PERMUTATIONS, Comparison, adjust
from monitoring.embedding_tests import compare_embeddings

Direction = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True)
class Tolerance:
    """The least effect that counts as drift, above what photos of other shops differ by (docs/decisions/0021)."""

    effect: float
    direction: Direction = "two-sided"
    """Only a less certain model, or less familiar photos, are a reason to act."""
    by_ranks: bool = False
    """Compare ranks (Mann-Whitney), which see a shift better, instead of distributions (Kolmogorov-Smirnov)."""


STATISTIC_TOLERANCES: Mapping[str, Tolerance] = {
    "brightness": Tolerance(0.30),
    "contrast": Tolerance(0.40),
    "sharpness": Tolerance(0.30),
    "anisotropy": Tolerance(0.32, by_ranks=True),
    "confidence": Tolerance(0.30, "less"),
    "entropy": Tolerance(0.30, "greater"),
    "unfamiliarity": Tolerance(0.30, "greater"),
}
"""Largest distances between two distributions, or rank-biserial correlations, in [0, 1]."""
_ANSWERS = {"confidence", "entropy", "unfamiliarity"}
_MIX_TOLERANCE = 0.25
_SHARE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Window:
    """What the tests see of a window."""

    statistics: Mapping[str, Floats]
    """By name, one value a photo that has it."""
    counts_K: Floats
    """Photos by their first label."""
    coordinates_NR: Floats | None


def compare_window(
    window: Window, reference: DriftReference, reference_MR: Floats | None, labels: Sequence[str]
) -> list[Comparison]:
    """Return the result of each test that *reference* and *window* allow; *reference_MR* are its coordinates."""
    results = [*_test_statistics(window, reference), *_test_labels(window.counts_K, reference, labels)]
    if window.coordinates_NR is not None and reference_MR is not None:
        results += compare_embeddings(window.coordinates_NR, reference_MR)
    return results


def expected_counts(reference: DriftReference) -> Floats:
    """Return photos of train by label, which are more than val's; those of val where an older reference lacks them."""
    if reference.train_counts_K is not None:
        return reference.train_counts_K
    return np.rint(reference.label_shares_K * reference.num_photos)


def _test_statistics(window: Window, reference: DriftReference) -> Iterator[Comparison]:
    tested = [name for name in STATISTIC_TOLERANCES if name in reference.histograms and len(window.statistics[name])]
    for name in tested:
        tolerance, histogram, values_N = STATISTIC_TOLERANCES[name], reference.histograms[name], window.statistics[name]
        before_M, after_N = _make_comparable(histogram, values_N, reference.num_photos)
        effect, p = _compare_samples(after_N, before_M, tolerance)
        yield Comparison(
            "answer shift" if name in _ANSWERS else "photo shift",
            name,
            effect,
            tolerance.effect,
            adjust(p, len(tested)),
            _median(histogram),
            float(np.median(values_N)),
        )


def _compare_samples(after_N: Floats, before_M: Floats, tolerance: Tolerance) -> tuple[float, float]:
    """Return effect and p-value."""
    if tolerance.by_ranks:
        ranks = stats.mannwhitneyu(after_N, before_M, alternative=tolerance.direction)
        return abs(2 * float(ranks.statistic) / (len(after_N) * len(before_M)) - 1), float(ranks.pvalue)
    # SciPy compares distribution functions: values that are greater have a lesser one.
    alternative = {"greater": "less", "less": "greater"}.get(tolerance.direction, "two-sided")
    found = stats.ks_2samp(after_N, before_M, alternative=alternative, method="asymp")
    return float(found.statistic), float(found.pvalue)


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
    before_K = expected_counts(reference)
    yield _test_mix(after_K, before_K)
    seen = np.flatnonzero(before_K + after_K)
    shares_before_K, shares_after_K = before_K / before_K.sum(), after_K / after_K.sum()
    for k in seen[np.abs(shares_after_K - shares_before_K)[seen] >= _SHARE_TOLERANCE]:
        table = [[after_K[k], after_K.sum() - after_K[k]], [before_K[k], before_K.sum() - before_K[k]]]
        p = stats.fisher_exact(np.array(table, dtype=int)).pvalue
        before, after = float(shares_before_K[k]), float(shares_after_K[k])
        yield Comparison(
            "label shift", labels[k], abs(after - before), _SHARE_TOLERANCE, adjust(p, len(seen)), before, after
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
        drawn_TK = rng.multivariate_hypergeometric(total_K, num_after, size=NUM_PERMUTATIONS, method="marginals")
        p = (1 + np.count_nonzero(chi_square(drawn_TK.astype(np.float32)) >= found)) / (1 + NUM_PERMUTATIONS)
    return Comparison("label shift", "mix of labels", effect, _MIX_TOLERANCE, adjust(p, 1, MIX_SHARE), 0.0, effect)
