"""Counters and histograms, summed in memory until they are emitted."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple


class Increment(NamedTuple):
    """What is added to one counter; *labels* are the values of its own dimensions."""

    name: str
    labels: tuple[str, ...]
    value: float


class MetricSums:
    def __init__(self, histograms: Mapping[str, tuple[float, ...]]) -> None:
        """*histograms* has the upper bound of each bucket but the last, which has none."""
        self._histograms = histograms
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._totals: defaultdict[str, float] = defaultdict(float)

    def count(self, name: str, *labels: str) -> None:
        self._counts[name, labels] += 1

    def observe(self, name: str, value: float) -> None:
        """Put *value* into its bucket of a histogram."""
        bounds = self._histograms[name]
        buckets = self._buckets.setdefault(name, [0] * (len(bounds) + 1))
        buckets[bisect_left(bounds, value)] += 1
        self._totals[name] += value

    def increments(self) -> Iterator[Increment]:
        """Yield what was added since the start; of a histogram as Prometheus has it: each bucket with those below."""
        for (name, labels), count in self._counts.items():
            yield Increment(name, labels, count)
        for name, buckets in self._buckets.items():
            values = [*accumulate(buckets), self._totals[name], sum(buckets)]
            for series, value in zip(list_series(name, self._histograms[name]), values, strict=True):
                if value:
                    yield Increment(*series, value)


def list_series(name: str, bounds: tuple[float, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and labels of each series of a histogram: its buckets, sum and count."""
    buckets = [(f"{name}_bucket", (bound,)) for bound in (*map(str, bounds), "+Inf")]
    return [*buckets, (f"{name}_sum", ()), (f"{name}_count", ())]
