"""Tests of one window of photos against the drift reference, at one level for all of them together.

Axes: N photos of the window, M of the reference, K class, R direction of the embedding, T trials of a permutation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from handler.drift_reference import DriftReference
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
_MIX_TOLERANCE = 0.40
_CHANCE_TRIALS = 500
_SHARE_TOLERANCE = 0.03


@dataclass(frozen=True)
class Window:
    statistics: Mapping[str, Floats]
    """By name, one value a photo that has it."""
    counts_K: Floats
    """Photos by their first label."""
    coordinates_NR: Floats | None


def compare_window(
    window: Window, reference: DriftReference, reference_MR: Floats | None, labels: Sequence[str]
) -> list[Comparison]:
    """Return the result of each test that *window* allows; *reference_MR* are its coordinates."""
    results = [*_test_statistics(window, reference), *_test_labels(window.counts_K, reference, labels)]
    if window.coordinates_NR is not None and reference_MR is not None:
        results += compare_embeddings(window.coordinates_NR, reference_MR)
    return results


def known_mixes(reference: DriftReference) -> list[Floats]:
    """Return the photos by label of train, which are more, and of val."""
    return [reference.train_counts_K, np.rint(reference.label_shares_K * reference.num_photos)]


def _test_statistics(window: Window, reference: DriftReference) -> Iterator[Comparison]:
    tested = [name for name in STATISTIC_TOLERANCES if len(window.statistics[name])]
    for name in tested:
        tolerance, before_M = STATISTIC_TOLERANCES[name], reference.histograms[name].samples_N
        after_N = window.statistics[name]
        # The reference's are rounded to float16, and the test must not see that.
        effect, p = _compare_samples(after_N.astype(np.float16).astype(np.float32), before_M, tolerance)
        yield Comparison(
            "answer shift" if name in _ANSWERS else "photo shift",
            name,
            effect,
            tolerance.effect,
            adjust(p, len(tested)),
            float(np.median(before_M)),
            float(np.median(after_N)),
        )


def _compare_samples(after_N: Floats, before_M: Floats, tolerance: Tolerance) -> tuple[float, float]:
    if tolerance.by_ranks:
        ranks = stats.mannwhitneyu(after_N, before_M, alternative=tolerance.direction)
        return abs(2 * float(ranks.statistic) / (len(after_N) * len(before_M)) - 1), float(ranks.pvalue)
    # SciPy compares distribution functions: values that are greater have a lesser one.
    alternative = {"greater": "less", "less": "greater"}.get(tolerance.direction, "two-sided")
    found = stats.ks_2samp(after_N, before_M, alternative=alternative, method="asymp")
    return float(found.statistic), float(found.pvalue)


def _test_labels(after_K: Floats, reference: DriftReference, labels: Sequence[str]) -> Iterator[Comparison]:
    """Compare with the mixes of train and of val, which differ though neither has drifted.

    The effect is the distance from the nearer one, the p-value that of the first, which has most photos.
    """
    mixes = known_mixes(reference)
    yield _test_mix(after_K, mixes)
    seen = np.flatnonzero(np.sum([*mixes, after_K], axis=0)).tolist()
    for k in seen:
        effect = min(abs(_share(k, after_K) - _share(k, before_K)) for before_K in mixes)
        if effect >= _SHARE_TOLERANCE:
            before_K = mixes[0]
            table = [[counts_K[k], counts_K.sum() - counts_K[k]] for counts_K in (after_K, before_K)]
            p = adjust(stats.fisher_exact(np.array(table, dtype=int)).pvalue, len(seen))
            before, after = _share(k, before_K), _share(k, after_K)
            yield Comparison("label shift", labels[k], effect, _SHARE_TOLERANCE, p, before, after)


def _share(k: int, counts_K: Floats) -> float:
    return float(counts_K[k] / counts_K.sum())


def _test_mix(after_K: Floats, mixes: Sequence[Floats]) -> Comparison:
    """Test the mix of the labels by Freeman and Tukey's chi-square, whose p-value is by permutation: many are rare.

    It sees labels that are gone, where Pearson's misses some. The effect is the statistic for each photo
    of the window, from which chance is taken off.
    """
    permutations = [_MixPermutations(after_K, before_K) for before_K in mixes]
    effect = min(permutation.measure_effect() for permutation in permutations)
    p = permutations[0].find_p() if effect >= _MIX_TOLERANCE else 1.0
    return Comparison("label shift", "mix of labels", effect, _MIX_TOLERANCE, adjust(p, 1, MIX_SHARE), 0.0, effect)


class _MixPermutations:
    """The statistic of a window and a mix, and of permutations of their photos."""

    def __init__(self, after_K: Floats, before_K: Floats) -> None:
        seen_K = before_K + after_K > 0
        self._total_K = (before_K + after_K)[seen_K].astype(np.int64)
        self._num_after = int(after_K.sum())
        self._expected_K = self._total_K * (self._num_after / self._total_K.sum())
        self._found = float(self._measure(after_K[seen_K]))
        self._rng = np.random.default_rng(0)

    def measure_effect(self) -> float:
        return max(0.0, (self._found - float(self._draw(_CHANCE_TRIALS).mean())) / self._num_after)

    def find_p(self) -> float:
        """Return the share of permutations that differ as much; it takes the longest."""
        return float((1 + np.count_nonzero(self._draw(NUM_PERMUTATIONS) >= self._found)) / (1 + NUM_PERMUTATIONS))

    def _measure(self, counts_TK: NDArray[np.number]) -> Floats:
        return 4 * ((np.sqrt(counts_TK) - np.sqrt(self._expected_K)) ** 2).sum(axis=-1)  # type: ignore[no-any-return]

    def _draw(self, num_trials: int) -> Floats:
        drawn_TK = self._rng.multivariate_hypergeometric(
            self._total_K, self._num_after, size=num_trials, method="marginals"
        )
        return self._measure(drawn_TK)
