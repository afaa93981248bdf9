import logging
import re

import pytest
import yaml

from handler.answer import Prediction
from handler.monitor import Monitor
from handler.problem import MalformedRequest, NotAPhoto, Problem, UnusablePhoto
from tests.handler.worker import METRICS, load_metrics
from tests.specs import make_spec

APPLE = Prediction((0, 1, 2, 3), (0.7, 0.1, 0.1, 0.1), confident=True)
UNSURE_APPLE = Prediction((0, 1, 2, 3), (0.4, 0.3, 0.2, 0.1), confident=False)
CHERRY = Prediction((2, 1, 0, 3), (0.9, 0.1, 0.0, 0.0), confident=True)
UNFAMILIAR_APPLE = UNSURE_APPLE._replace(unfamiliarity=1.5)
_LINE = re.compile(
    r"\[METRICS\](\w+)\.\w+:([\d.]+)\|#ModelName:fruity,ModelVersion:1\.2\.3(?:,\w+:([^|]*))?\|#type:(\w+)"
)


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(load_metrics(), "fruity", "1.2.3", make_spec())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ts.metrics")
    return caplog


def emitted(log: pytest.LogCaptureFixture) -> list[tuple[str, float, str, str]]:
    """Return name, value, last dimension and type of each metric, read as TorchServe's frontend reads them."""
    lines = [record.getMessage() for record in log.records]
    matches = [_LINE.match(line) for line in lines]
    assert None not in matches, lines
    return sorted((m[1], float(m[2]), m[3] or "", m[4]) for m in matches if m is not None)


def test_a_batch_is_counted_by_outcome_and_first_label(monitor: Monitor, log: pytest.LogCaptureFixture) -> None:
    problems: list[Problem] = [NotAPhoto("text"), NotAPhoto("text"), UnusablePhoto("broken")]

    monitor.record_batch([APPLE, CHERRY, UNSURE_APPLE, *problems], decode_seconds=[0.5, 0.125], inference_seconds=0.25)

    assert emitted(log) == [
        ("fruity_confidence", 0.4, "", "HISTOGRAM"),
        ("fruity_confidence", 0.7, "", "HISTOGRAM"),
        ("fruity_confidence", 0.9, "", "HISTOGRAM"),
        ("fruity_decode_seconds", 0.125, "", "HISTOGRAM"),
        ("fruity_decode_seconds", 0.5, "", "HISTOGRAM"),
        ("fruity_inference_seconds", 0.25, "", "HISTOGRAM"),
        ("fruity_labels_total", 1.0, "cherry", "COUNTER"),
        ("fruity_labels_total", 2.0, "apple", "COUNTER"),
        ("fruity_photos_total", 1.0, "unsure", "COUNTER"),
        ("fruity_photos_total", 1.0, "unusable-photo", "COUNTER"),
        ("fruity_photos_total", 2.0, "confident", "COUNTER"),
        ("fruity_photos_total", 2.0, "not-a-photo", "COUNTER"),
    ]


def test_unfamiliar_photos_are_counted(monitor: Monitor, log: pytest.LogCaptureFixture) -> None:
    familiar = APPLE._replace(unfamiliarity=0.9)

    monitor.record_batch([UNFAMILIAR_APPLE, familiar, UNFAMILIAR_APPLE], decode_seconds=[], inference_seconds=0.1)

    assert ("fruity_unfamiliar_total", 2.0, "", "COUNTER") in emitted(log)


def test_a_refused_request_is_counted_by_its_problem(monitor: Monitor, log: pytest.LogCaptureFixture) -> None:
    monitor.record_refusal(MalformedRequest("top_k"))

    assert emitted(log) == [("fruity_photos_total", 1.0, "malformed-request", "COUNTER")]


def test_every_metric_emitted_is_declared_and_every_one_declared_is_emitted(
    monitor: Monitor, log: pytest.LogCaptureFixture
) -> None:
    declared = {
        (metric["name"], kind.upper())
        for kind, metrics in yaml.safe_load(METRICS.read_text())["model_metrics"].items()
        for metric in metrics
    }

    monitor.record_batch([UNFAMILIAR_APPLE], decode_seconds=[0.1], inference_seconds=0.1)

    # TorchServe's worker emits PredictionTime.
    assert {(name, kind) for name, _, _, kind in emitted(log)} == declared - {("PredictionTime", "GAUGE")}
