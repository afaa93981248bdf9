"""The metrics of requests, photos and answers; metrics.yaml beside this file declares each of them.

TorchServe reads each metric from a line of the worker's output. That takes more time than counting, so the worker
sums them up and emits the sums every five seconds (docs/decisions/0019).
"""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

from handler.decode import MEDIA_TYPES
from handler.drift_reference import STATISTICS, DriftReference
from handler.metric_sums import MetricSums, list_series
from handler.observation import Observation
from handler.problem import Problem
from handler.spec import Spec

INTERVAL_S = 5.0
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
HISTOGRAMS = {
    "fruity_batch_photos": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0),
    "fruity_decode_seconds": _SECONDS,
    "fruity_preprocess_seconds": _SECONDS,
    "fruity_inference_seconds": _SECONDS,
    "fruity_handler_seconds": _SECONDS,
    "fruity_confidence": (*_TENTHS, 0.95, 0.99),
    "fruity_entropy": (0.01, 0.05, *_TENTHS),
    # Over 1 a photo is unfamiliar.
    "fruity_unfamiliarity": (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0),
    "fruity_brightness": _TENTHS,
    "fruity_contrast": (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
    # Of Grocery's photos the sharpest has 0.15.
    "fruity_sharpness": (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25),
    "fruity_anisotropy": _TENTHS,
    "fruity_photo_side_pixels": (64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0),
    "fruity_photo_bytes": (4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0),
}
_KNOWN_LABELS: dict[str, list[tuple[str, ...]]] = {
    "fruity_requests_total": list(product(("predictions", "explanations"), ("answered", "refused"))),
    "fruity_photos_total": [("confident",), ("unsure",)],
    "fruity_media_types_total": [(media_type,) for media_type in sorted(set(MEDIA_TYPES.values()))],
    "fruity_unfamiliar_total": [()],
}
# TorchServe splits a metric's line at the first three; a line break would end it.
_SEPARATORS = re.compile(r"[,:|\s]+")
_MEMORY_FILE = Path("/proc/self/statm")


class Monitor:
    """Records may come from one thread while another one emits."""

    def __init__(
        self,
        metrics: Any,
        model: str,
        version: str,
        spec: Spec,
        reference: DriftReference | None,
        worker: int,
        gpu_memory_bytes: Callable[[], int | None],
    ) -> None:
        """*metrics* is TorchServe's metrics cache (`context.metrics`); *worker* tells this one from the others.

        *gpu_memory_bytes* returns what the worker holds on its GPU, None without one.
        """
        # TorchServe's own enum of metric types is the key, which needs no import of TorchServe.
        self._declared = {kind.value: declared for kind, declared in metrics.cache.items()}
        self._dimensions = [model, version]
        self._labels = [clean_label(label) for label in spec.labels]
        self._reference, self._worker, self._gpu_memory_bytes = reference, worker, gpu_memory_bytes
        self._lock, self._recorded = threading.Lock(), threading.Event()
        self._sums = MetricSums(HISTOGRAMS)

    def start(self) -> None:
        """Emit what does not change, and from now on what was recorded, in a thread of its own."""
        threading.Thread(target=self._emit_periodically, name="metrics", daemon=True).start()

    def record_request(self, *, explain: bool, answered: bool, results: Iterable[Observation | Problem]) -> None:
        """Record a request and its photos, or the one problem of a request that was refused as a whole."""
        with self._lock:
            route, outcome = "explanations" if explain else "predictions", "answered" if answered else "refused"
            self._sums.count("fruity_requests_total", route, outcome)
            for result in results:
                if isinstance(result, Problem):
                    self._sums.count("fruity_photos_total", result.kind)
                else:
                    self._record_photo(result)

    def record_batch(
        self, num_photos: int, decode_seconds: Iterable[float], inference_seconds: float, handler_seconds: float
    ) -> None:
        """Record one call of the handler, in which *num_photos* went through the engine."""
        with self._lock:
            for seconds in decode_seconds:
                self._sums.observe("fruity_decode_seconds", seconds)
            self._sums.observe("fruity_handler_seconds", handler_seconds)
            if num_photos:
                self._sums.observe("fruity_batch_photos", num_photos)
                self._sums.observe("fruity_inference_seconds", inference_seconds)
        self._recorded.set()

    def record_logged(self, outcomes: Sequence[str]) -> None:
        """Record for each photo whether the prediction log has `written` or `dropped` it."""
        with self._lock:
            for outcome in outcomes:
                self._sums.count("fruity_logged_photos_total", outcome)

    def emit(self) -> None:
        """Emit what was recorded since the last time."""
        self._recorded.clear()
        with self._lock:
            sums, self._sums = self._sums, MetricSums(HISTOGRAMS)
        for name, labels, value in sums.increments():
            self._emit("counter", name, value, *labels)
        # Only Linux has the file, and there may be no descriptor left to open it: the sums go on.
        with suppress(OSError):
            resident_pages = int(_MEMORY_FILE.read_text().split()[1])
            self._emit(
                "gauge", "fruity_worker_memory_bytes", resident_pages * os.sysconf("SC_PAGE_SIZE"), str(self._worker)
            )
        if (num_bytes := self._gpu_memory_bytes()) is not None:
            self._emit("gauge", "fruity_worker_gpu_memory_bytes", num_bytes, str(self._worker))

    def emit_constants(self) -> None:
        """Emit that a worker started, the drift reference, and 0 for each counter with known labels.

        Prometheus takes the first value that it sees of a series for no increase.
        """
        self._emit("counter", "fruity_worker_starts_total", 1)
        if (reference := self._reference) is not None:
            self._emit("gauge", "fruity_reference_photos", reference.num_photos)
            for name, bin_name, share in self._reference_bins(reference):
                self._emit("gauge", "fruity_reference_share", share, name, bin_name)
                self._emit("counter", "fruity_reference_bin_total", 0, name, bin_name)
        for name, values in _KNOWN_LABELS.items():
            for labels in values:
                self._emit("counter", name, 0, *labels)
        for label in self._labels:
            self._emit("counter", "fruity_labels_total", 0, label)
        for histogram, bounds in HISTOGRAMS.items():
            for name, labels in list_series(histogram, bounds):
                self._emit("counter", name, 0, *labels)

    def _emit_periodically(self) -> None:
        self.emit_constants()
        while True:
            self.emit()
            self._recorded.wait()
            time.sleep(INTERVAL_S)

    def _record_photo(self, photo: Observation) -> None:
        sums, statistics, header = self._sums, photo.statistics, photo.model_input.header
        label = self._labels[photo.prediction.class_indices[0]]
        sums.count("fruity_photos_total", "confident" if photo.prediction.confident else "unsure")
        sums.count("fruity_labels_total", label)
        sums.count("fruity_media_types_total", header.media_type)
        if photo.prediction.unfamiliar:
            sums.count("fruity_unfamiliar_total")
        sums.observe("fruity_preprocess_seconds", photo.model_input.preprocess_seconds)
        sums.observe("fruity_photo_side_pixels", min(header.width, header.height))
        sums.observe("fruity_photo_bytes", len(photo.model_input.photo))
        if self._reference is not None:
            sums.count("fruity_reference_bin_total", "label", label)
        for name in STATISTICS:
            if (value := getattr(statistics, name)) is None:
                continue
            sums.observe(f"fruity_{name}", value)
            if self._reference is not None:
                sums.count("fruity_reference_bin_total", name, str(self._reference.histograms[name].bin(value)))

    def _reference_bins(self, reference: DriftReference) -> Iterator[tuple[str, str, float]]:
        for name, histogram in reference.histograms.items():
            for number, share in enumerate(histogram.shares):
                yield name, str(number), share
        for label, share in zip(self._labels, reference.label_shares_K.tolist(), strict=True):
            yield "label", label, share

    def _emit(self, kind: str, name: str, value: float, *labels: str) -> None:
        # A server that is older than the archive does not declare all of them.
        if (metric := self._declared.get(kind, {}).get(name)) is not None:
            metric.add_or_update(value, [*self._dimensions, *labels])


def clean_label(label: str) -> str:
    """Return *label* without what TorchServe cannot take in the value of a dimension."""
    return _SEPARATORS.sub(" ", label)


def log_warnings_only() -> None:
    """Let the worker log warnings and metrics only: its frontend parses each line of a batch, and drops it."""
    logging.getLogger().setLevel(logging.WARNING)
    # Metrics are log lines of this logger.
    logging.getLogger("ts.metrics").setLevel(logging.INFO)
