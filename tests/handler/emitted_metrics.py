"""A monitor, and what it emits as TorchServe's frontend reads it."""

import re

import numpy as np
import pytest

from handler.drift_reference import STATISTICS, DriftReference, Histogram
from handler.monitor import Monitor
from handler.observation import Observation
from handler.problem import Problem
from handler.spec import Spec
from tests.handler.worker import load_metrics
from tests.specs import make_spec

NO_SAMPLES = np.zeros(0, dtype=np.float32)
REFERENCE = DriftReference(
    num_photos=8,
    label_shares_K=np.array([0.5, 0.25, 0.25, 0.0], dtype=np.float32),
    train_counts_K=np.array([20.0, 10.0, 10.0, 10.0], dtype=np.float32),
    histograms={
        **{name: Histogram((), (1.0,), NO_SAMPLES) for name in STATISTICS},
        "confidence": Histogram((0.5,), (0.25, 0.75), NO_SAMPLES),
        "brightness": Histogram((0.25, 0.5, 0.75), (0.25, 0.25, 0.25, 0.25), NO_SAMPLES),
    },
    embeddings_ND=np.zeros((0, 2), dtype=np.float32),
)
# As TorchServe's frontend reads a line (org.pytorch.serve.metrics.Metric), with the name of each dimension.
LINE = re.compile(r"\[METRICS\]([\w\s]+)\.[\w\s]+:([0-9\-,.e]+)\|#([^|]*)\|#type:([^|,]+)\|#hostname:[^,]+,[^,]+")
_MODEL = ["ModelName:fruity", "ModelVersion:1.2.3"]

Emitted = dict[tuple[str, ...], float]


def make_monitor(
    reference: DriftReference | None = REFERENCE, spec: Spec | None = None, gpu_bytes: int | None = None
) -> Monitor:
    """Return the monitor of worker 1, which holds *gpu_bytes* on its GPU."""
    return Monitor(load_metrics(), "fruity", "1.2.3", spec or make_spec(), reference, 1, lambda: gpu_bytes)


def record(monitor: Monitor, *results: Observation | Problem, explain: bool = False) -> None:
    """Record one request with *results*, answered if one of them is."""
    answered = any(isinstance(result, Observation) for result in results)
    monitor.record_request(explain=explain, answered=answered, results=results)


def emitted(log: pytest.LogCaptureFixture, *names: str) -> Emitted:
    """Return the value of each line, of *names* if given, by its metric's name and the values of its own labels."""
    lines = [record.getMessage() for record in log.records]
    matches = [LINE.fullmatch(line) for line in lines]
    assert None not in matches, lines
    found: Emitted = {}
    for match in filter(None, matches):
        labels = match[3].split(",")
        assert labels[:2] == _MODEL
        assert all(label.count(":") == 1 for label in labels)
        key = (match[1], *(label.partition(":")[2] for label in labels[2:]))
        assert key not in found, f"two lines for {key}"
        found[key] = float(match[2])
    return {key: value for key, value in found.items() if not names or key[0] in names}
