import logging
import re
from collections.abc import Iterable

import numpy as np
import pytest
import yaml

from handler.drift_reference import DriftReference, Histogram
from handler.monitor import HISTOGRAMS, Monitor
from handler.observation import Observation
from handler.problem import MalformedRequest, NotAPhoto, Problem, UnusablePhoto
from handler.spec import Spec
from tests.handler.observations import APPLE, CHERRY, UNSURE_APPLE, observe
from tests.handler.worker import METRICS, load_metrics
from tests.specs import make_spec

UNFAMILIAR_APPLE = UNSURE_APPLE._replace(unfamiliarity=1.5)
REFERENCE = DriftReference(
    num_photos=8,
    label_shares_K=np.array([0.5, 0.25, 0.25, 0.0], dtype=np.float32),
    histograms={
        "confidence": Histogram((0.5,), (0.25, 0.75), None),
        "brightness": Histogram((0.25, 0.5, 0.75), (0.25, 0.25, 0.25, 0.25), None),
    },
    embeddings_ND=np.zeros((0, 2), dtype=np.float32),
)
# As TorchServe's frontend reads a line (org.pytorch.serve.metrics.Metric), with the name of each dimension.
_LINE = re.compile(r"\[METRICS\]([\w\s]+)\.[\w\s]+:([0-9\-,.e]+)\|#([^|]*)\|#type:([^|,]+)\|#hostname:[^,]+,[^,]+")
_MODEL = ["ModelName:fruity", "ModelVersion:1.2.3"]

Emitted = dict[tuple[str, ...], float]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ts.metrics")
    return caplog


def make_monitor(reference: DriftReference | None = REFERENCE, spec: Spec | None = None) -> Monitor:
    return Monitor(load_metrics(), "fruity", "1.2.3", spec or make_spec(), reference, worker=1)


def record(monitor: Monitor, *results: Observation | Problem, explain: bool = False) -> None:
    """Record one request with *results*, answered if one of them is."""
    answered = any(isinstance(result, Observation) for result in results)
    monitor.record_request(explain=explain, answered=answered, results=results)


def emitted(log: pytest.LogCaptureFixture, *names: str) -> Emitted:
    """Return the value of each line, of *names* if given, by its metric's name and the values of its own labels."""
    lines = [record.getMessage() for record in log.records]
    matches = [_LINE.fullmatch(line) for line in lines]
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


def buckets(found: Emitted, name: str) -> dict[str, float]:
    return {key[1]: value for key, value in found.items() if key[0] == f"{name}_bucket"}


def declared() -> Iterable[tuple[str, str]]:
    for kind, metrics in yaml.safe_load(METRICS.read_text())["model_metrics"].items():
        # TorchServe's worker emits PredictionTime.
        yield from ((metric["name"], kind) for metric in metrics if metric["name"] != "PredictionTime")


def test_requests_and_photos_are_counted_by_what_came_of_them(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(APPLE), observe(CHERRY), NotAPhoto("text"))
    record(monitor, observe(UNSURE_APPLE), explain=True)
    record(monitor, UnusablePhoto("broken"), NotAPhoto("text"))
    record(monitor, MalformedRequest("top_k"))
    monitor.emit()

    names = ("fruity_requests_total", "fruity_photos_total", "fruity_labels_total", "fruity_media_types_total")
    assert emitted(log, *names) == {
        ("fruity_requests_total", "predictions", "answered"): 1,
        ("fruity_requests_total", "explanations", "answered"): 1,
        ("fruity_requests_total", "predictions", "refused"): 2,
        ("fruity_photos_total", "confident"): 2,
        ("fruity_photos_total", "unsure"): 1,
        ("fruity_photos_total", "not-a-photo"): 2,
        ("fruity_photos_total", "unusable-photo"): 1,
        ("fruity_photos_total", "malformed-request"): 1,
        ("fruity_labels_total", "apple"): 2,
        ("fruity_labels_total", "cherry"): 1,
        ("fruity_media_types_total", "image/jpeg"): 3,
    }


def test_unfamiliar_photos_are_counted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(UNFAMILIAR_APPLE), observe(APPLE._replace(unfamiliarity=0.9)), observe(UNFAMILIAR_APPLE))
    monitor.emit()

    found = emitted(log)
    assert found["fruity_unfamiliar_total",] == 2
    assert (found["fruity_unfamiliarity_sum",], found["fruity_unfamiliarity_count",]) == (3.9, 3)


def test_a_histogram_is_emitted_as_prometheus_has_it_each_bucket_with_those_below(
    log: pytest.LogCaptureFixture,
) -> None:
    monitor = make_monitor()

    monitor.record_batch(3, decode_seconds=[0.0004, 0.0005, 0.003, 99.0], inference_seconds=0.02, handler_seconds=0.5)
    monitor.emit()

    found = emitted(log)
    assert found["fruity_decode_seconds_sum",] == pytest.approx(99.0039)
    assert found["fruity_decode_seconds_count",] == 4
    counts = list(buckets(found, "fruity_decode_seconds").items())
    assert counts[:4] == [("0.0005", 2), ("0.001", 2), ("0.0025", 2), ("0.005", 3)]
    assert counts[-2:] == [("10.0", 3), ("+Inf", 4)]
    assert buckets(found, "fruity_batch_photos")["3.0"] == 1
    assert "2.0" not in buckets(found, "fruity_batch_photos")
    assert found["fruity_inference_seconds_sum",] == 0.02
    assert found["fruity_handler_seconds_sum",] == 0.5


def test_a_batch_of_only_refused_requests_has_no_inference(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    monitor.record_batch(0, decode_seconds=[], inference_seconds=0.0, handler_seconds=0.001)
    monitor.emit()

    found = emitted(log)
    assert found["fruity_handler_seconds_count",] == 1
    assert ("fruity_inference_seconds_count",) not in found
    assert ("fruity_batch_photos_count",) not in found


def test_the_number_of_lines_does_not_grow_with_the_photos(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()
    record(monitor, observe(APPLE))
    monitor.emit()
    num_of_one = len(log.records)
    log.clear()

    for _ in range(100):
        record(monitor, observe(APPLE))
    monitor.emit()

    assert len(log.records) == num_of_one
    assert emitted(log)["fruity_photos_total", "confident"] == 100


def test_what_was_emitted_is_not_emitted_again(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()
    record(monitor, observe(APPLE))
    monitor.emit()
    log.clear()

    monitor.emit()

    assert {name for name, *_ in emitted(log)} == {"fruity_worker_memory_bytes"}


def test_photos_are_counted_by_the_bins_of_the_reference(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    record(monitor, observe(APPLE, brightness=0.1), observe(UNSURE_APPLE, brightness=0.5), observe(CHERRY))
    monitor.emit()

    # Of the other statistics the reference says nothing.
    assert emitted(log, "fruity_reference_bin_total") == {
        ("fruity_reference_bin_total", "label", "apple"): 2,
        ("fruity_reference_bin_total", "label", "cherry"): 1,
        ("fruity_reference_bin_total", "confidence", "0"): 1,
        ("fruity_reference_bin_total", "confidence", "1"): 2,
        ("fruity_reference_bin_total", "brightness", "0"): 1,
        ("fruity_reference_bin_total", "brightness", "2"): 2,
    }


def test_a_worker_that_starts_emits_the_reference_and_zeros(log: pytest.LogCaptureFixture) -> None:
    make_monitor().emit_constants()

    found = emitted(log)
    assert found["fruity_worker_starts_total",] == 1
    assert found["fruity_reference_photos",] == 8
    assert {key[1:]: value for key, value in found.items() if key[0] == "fruity_reference_share"} == {
        ("confidence", "0"): 0.25,
        ("confidence", "1"): 0.75,
        **{("brightness", str(number)): 0.25 for number in range(4)},
        ("label", "apple"): 0.5,
        ("label", "banana"): 0.25,
        ("label", "cherry"): 0.25,
        ("label", "not food"): 0.0,
    }
    zeros = {key for key, value in found.items() if value == 0}
    assert {key[1:] for key in zeros if key[0] == "fruity_reference_bin_total"} == {
        key[1:] for key in found if key[0] == "fruity_reference_share"
    }
    assert ("fruity_requests_total", "explanations", "refused") in zeros
    assert ("fruity_labels_total", "not food") in zeros
    assert {("fruity_confidence_bucket", "+Inf"), ("fruity_confidence_sum",), ("fruity_confidence_count",)} <= zeros


def test_an_archive_without_a_reference_has_no_metrics_of_it(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor(reference=None)

    monitor.emit_constants()
    record(monitor, observe(APPLE))
    monitor.emit()

    assert not [message for message in log.messages if "fruity_reference" in message]
    assert [message for message in log.messages if "fruity_labels_total" in message]


def test_labels_that_torchserve_would_take_apart_are_counted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor(None, make_spec(("fish, fried: hot|cold", "a\nb", "cherry", "not food")))

    record(monitor, observe(APPLE), observe(CHERRY._replace(class_indices=(1, 0, 2, 3))))
    monitor.emit()

    assert emitted(log, "fruity_labels_total") == {
        ("fruity_labels_total", "fish fried hot cold"): 1,
        ("fruity_labels_total", "a b"): 1,
    }


def test_a_worker_tells_its_memory_from_that_of_the_others(log: pytest.LogCaptureFixture) -> None:
    make_monitor().emit()

    ((key, num_bytes),) = emitted(log).items()
    assert key == ("fruity_worker_memory_bytes", "1")
    assert 1e7 < num_bytes < 1e11


def test_an_older_server_that_lacks_a_metric_gets_the_others(log: pytest.LogCaptureFixture) -> None:
    metrics = load_metrics()
    counters, gauges = metrics.cache.values()
    del counters["fruity_labels_total"]
    gauges.clear()
    monitor = Monitor(metrics, "fruity", "1.2.3", make_spec(), REFERENCE, worker=0)

    monitor.emit_constants()
    log.clear()
    record(monitor, observe(APPLE))
    monitor.emit()

    names = {name for name, *_ in emitted(log)}
    assert "fruity_photos_total" in names
    assert not names & {"fruity_labels_total", "fruity_worker_memory_bytes"}


def test_every_metric_emitted_is_declared_and_every_one_declared_is_emitted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor()

    monitor.emit_constants()
    record(monitor, observe(UNFAMILIAR_APPLE))
    monitor.record_batch(1, decode_seconds=[0.1], inference_seconds=0.1, handler_seconds=0.1)
    monitor.record_logged(["written"])
    monitor.emit()

    kinds = {(match[1], match[4].lower()) for message in log.messages if (match := _LINE.fullmatch(message))}
    assert kinds == set(declared())
    assert {name.removesuffix("_bucket") for name, _ in declared() if name.endswith("_bucket")} == set(HISTOGRAMS)
