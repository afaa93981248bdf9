"""Tests of a window's embeddings against the reference's.

Axes: N photos of the window, M of the reference, P of both, R direction of the embedding, T trials of a permutation.
"""

import numpy as np
from scipy import stats  # type: ignore[import-untyped]
from scipy.spatial.distance import pdist  # type: ignore[import-untyped]
from sklearn.metrics.pairwise import rbf_kernel  # type: ignore[import-untyped]

from handler.engine import Floats
from monitoring.drift_level import NUM_PERMUTATIONS, Comparison, adjust

# Above what photos of different shops differ by (docs/decisions/0021).
_COORDINATE_TOLERANCE = 0.40
_MMD_TOLERANCE = 0.18

_TRIALS_AT_ONCE = 2_000


def compare_embeddings(after_NR: Floats, before_MR: Floats) -> list[Comparison]:
    """Return the comparison of single coordinates and, if these have not drifted, of all of them together."""
    coordinates = _test_coordinates(after_NR, before_MR)
    # The second sees what no single direction shows, and takes the longest.
    return [coordinates] if coordinates.drifted else [coordinates, _test_mmd(after_NR, before_MR)]


def _test_coordinates(after_NR: Floats, before_MR: Floats) -> Comparison:
    """Test each coordinate by Kolmogorov-Smirnov and return the one that differs most (Rabanser et al., 2019)."""
    found_R = stats.ks_2samp(after_NR, before_MR, method="asymp")
    r = int(np.argmax(found_R.statistic))
    return Comparison(
        "embedding shift",
        f"embedding, direction {r + 1}",
        float(found_R.statistic[r]),
        _COORDINATE_TOLERANCE,
        adjust(found_R.pvalue[r], after_NR.shape[1]),
        float(np.median(before_MR[:, r])),
        float(np.median(after_NR[:, r])),
    )


def _test_mmd(after_NR: Floats, before_MR: Floats) -> Comparison:
    """Test all coordinates together by the maximum mean discrepancy (Gretton et al., 2012), by permutation."""
    num, num_all = len(after_NR), len(after_NR) + len(before_MR)
    both = np.concatenate([after_NR, before_MR]).astype(np.float32)
    # The usual width: the median squared distance of two photos of the reference.
    width = max(np.median(pdist(before_MR, "sqeuclidean")), np.finfo(np.float32).tiny)
    kernel = rbf_kernel(both, gamma=1 / width).astype(np.float32)
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
        for _ in range(NUM_PERMUTATIONS // _TRIALS_AT_ONCE):
            drawn_TP = rng.permuted(np.tile(is_after_P, (_TRIALS_AT_ONCE, 1)), axis=1)
            num_reached += int(np.count_nonzero(squared(drawn_TP) >= found))
        p = (1 + num_reached) / (1 + NUM_PERMUTATIONS)
    return Comparison("embedding shift", "embedding, MMD", effect, _MMD_TOLERANCE, adjust(p, 1), 0.0, effect)
