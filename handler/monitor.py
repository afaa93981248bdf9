"""The metrics of a model's answers; metrics.yaml beside this file declares each of them."""

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from handler.answer import Prediction
from handler.problem import Problem
from handler.spec import Spec


class Monitor:
    """Emits metrics, each a line on stdout that TorchServe parses; counts are summed over the batch first."""

    def __init__(self, metrics: Any, model: str, version: str, spec: Spec) -> None:
        """*metrics* is TorchServe's metrics cache (`context.metrics`)."""
        self._metrics = metrics
        # TorchServe's own enum of metric types, without importing TorchServe.
        self._kinds = {kind.value: kind for kind in metrics.cache}
        self._dimensions = [model, version]
        self._labels = spec.labels

    def record_batch(
        self, results: Iterable[Prediction | Problem], decode_seconds: Iterable[float], inference_seconds: float
    ) -> None:
        """Emit one batch: the outcome of each photo, and the time that decoding and inference took."""
        outcomes: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        num_unfamiliar = 0
        for result in results:
            if isinstance(result, Problem):
                outcomes[result.kind] += 1
                continue
            outcomes["confident" if result.confident else "unsure"] += 1
            labels[self._labels[result.class_indices[0]]] += 1
            self._emit("histogram", "fruity_confidence", result.probabilities[0])
            num_unfamiliar += bool(result.unfamiliar)
        for outcome, count in outcomes.items():
            self._emit("counter", "fruity_photos_total", count, outcome)
        for label, count in labels.items():
            self._emit("counter", "fruity_labels_total", count, label)
        if num_unfamiliar:
            self._emit("counter", "fruity_unfamiliar_total", num_unfamiliar)
        for seconds in decode_seconds:
            self._emit("histogram", "fruity_decode_seconds", seconds)
        if labels:
            self._emit("histogram", "fruity_inference_seconds", inference_seconds)

    def record_refusal(self, problem: Problem) -> None:
        """Emit a request that was refused as a whole."""
        self._emit("counter", "fruity_photos_total", 1, problem.kind)

    def _emit(self, kind: str, name: str, value: float, *dimensions: str) -> None:
        metric = self._metrics.get_metric(name, self._kinds[kind])
        metric.add_or_update(value, [*self._dimensions, *dimensions])


def log_warnings_only() -> None:
    """Let the worker log warnings and metrics only: its frontend parses each line of a batch, and drops it."""
    logging.getLogger().setLevel(logging.WARNING)
    # Metrics are log lines of this logger.
    logging.getLogger("ts.metrics").setLevel(logging.INFO)
