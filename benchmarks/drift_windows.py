"""Windows of photos, undrifted and drifted, drawn for drift detection. Axes: N photos, R direction, K class."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_photos import Pool
from handler.drift_reference import DriftReference, Histogram
from handler.engine import Floats
from monitoring.drift_level import Comparison
from monitoring.drift_tests import Window, compare_window
from monitoring.prediction_windows import cut_windows

WINDOW = 200
_NUM_SAMPLES = 512
_MIX_DEVIATION = 0.3
"""Of the logarithm of each label's weight: from window to window a label's share varies by about a third."""

Draw = Callable[[np.random.Generator], Window]


@dataclass(frozen=True)
class Setting:
    """A reference of one shop, and photos of other shops that are served; `labels_N` are the first labels."""

    reference: DriftReference  # as `make_reference` returns it
    labels: tuple[str, ...]
    served: Mapping[str, Pool]  # by kind: `as they are`, each change, and `other` pictures
    served_labels_N: NDArray[np.int64]

    def compare(self, window: Window) -> list[Comparison]:
        return compare_window(window, self.reference, self.reference.embeddings_ND, self.labels)

    def draw(
        self, rng: np.random.Generator, kind: str = "as they are", weights_K: Floats | None = None, others: int = 0
    ) -> Window:
        """Return a window, each photo at most once; *others* of it are no groceries, and have any label."""
        weights_K = np.ones(len(self.labels), np.float32) if weights_K is None else weights_K
        return self._build(rng, kind, self._choose(rng, weights_K, WINDOW - others), others)

    def draw_week(self, rng: np.random.Generator, num_windows: int) -> Iterator[Window]:
        """Yield windows that overlap as those of `make drift` do; each half of one has its own mix of labels."""
        halves: list[NDArray[np.int64]] = []
        weights_K = np.ones(len(self.labels), np.float32)
        for _ in range(num_windows + 1):
            halves.append(self._choose(rng, weights_K, WINDOW // 2, halves[-1] if halves else None))
        # Rows of the pool: those of a log would be its photos.
        for rows in cut_windows(np.concatenate(halves).tolist(), WINDOW):
            yield self._build(rng, "as they are", np.array(rows))

    def triple(self, k: int, rng: np.random.Generator) -> Window:
        """Return a window in which label *k* has three times its share."""
        of_label_N = np.flatnonzero(self.served_labels_N == k)
        num_of_label = min(len(of_label_N), rng.binomial(WINDOW, 3 * len(of_label_N) / len(self.served_labels_N)))
        others_K = (np.arange(len(self.labels)) != k).astype(np.float32)
        chosen = [
            rng.choice(of_label_N, num_of_label, replace=False),
            self._choose(rng, others_K, WINDOW - num_of_label),
        ]
        return self._build(rng, "as they are", np.concatenate(chosen))

    def drop_third(self, rng: np.random.Generator) -> Window:
        weights_K = np.ones(len(self.labels), np.float32)
        weights_K[rng.choice(len(weights_K), len(weights_K) // 3, replace=False)] = 0
        return self.draw(rng, weights_K=weights_K)

    def _choose(
        self, rng: np.random.Generator, weights_K: Floats, num_photos: int, taken: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        weights_N = (weights_K * np.exp(rng.normal(0.0, _MIX_DEVIATION, len(weights_K))))[self.served_labels_N]
        if taken is not None:
            weights_N[taken] = 0.0
        return rng.choice(len(weights_N), num_photos, replace=False, p=weights_N / weights_N.sum())

    def _build(self, rng: np.random.Generator, kind: str, chosen: NDArray[np.int64], others: int = 0) -> Window:
        parts = [(self.served[kind], chosen)]
        labels_N = self.served_labels_N[chosen]
        if others:
            parts.append((self.served["other"], rng.choice(len(self.served["other"]), others, replace=False)))
            labels_N = np.concatenate([labels_N, rng.choice(self.served_labels_N, others)])
        coordinates_NR = np.concatenate([pool.coordinates_NR[rows] for pool, rows in parts])
        statistics = {
            name: np.concatenate([pool.statistics[name][rows] for pool, rows in parts])
            for name in self.served[kind].statistics
        }
        counts_K = np.bincount(labels_N, minlength=len(self.labels)).astype(np.float32)
        return Window(statistics, counts_K, coordinates_NR)


def make_reference(val: Pool, val_labels_N: NDArray[np.int64], train_counts_K: Floats) -> DriftReference:
    """Return the reference that training would have written, with coordinates in place of embeddings."""
    shares_K = np.bincount(val_labels_N, minlength=len(train_counts_K)) / len(val)
    histograms = {name: Histogram((), (1.0,), values_N[:_NUM_SAMPLES]) for name, values_N in val.statistics.items()}
    coordinates_MR = val.coordinates_NR[:_NUM_SAMPLES]
    return DriftReference(len(val), shares_K.astype(np.float32), train_counts_K, histograms, coordinates_MR)
