import logging
import threading
from collections.abc import Iterable

import pytest
import yaml

from handler.monitor import HISTOGRAMS, Monitor
from handler.problem import NotAPhoto
from tests.handler.emitted_metrics import LINE, REFERENCE, emitted, make_monitor, record
from tests.handler.observations import APPLE, UNSURE_APPLE, observe
from tests.handler.worker import METRICS, load_metrics
from tests.specs import make_spec


def declared() -> Iterable[tuple[str, str]]:
    for kind, metrics in yaml.safe_load(METRICS.read_text())["model_metrics"].items():
        # TorchServe's worker emits PredictionTime.
        yield from ((metric["name"], kind) for metric in metrics if metric["name"] != "PredictionTime")


def test_a_worker_that_starts_emits_the_reference_and_zeros(log: pytest.LogCaptureFixture) -> None:
    make_monitor().emit_constants()

    found = emitted(log)
    assert found["fruity_worker_starts_total",] == 1
    assert found["fruity_reference_photos",] == 8
    assert {key[1:]: value for key, value in found.items() if key[0] == "fruity_reference_share"} == {
        ("confidence", "0"): 0.25,
        ("confidence", "1"): 0.75,
        **{("brightness", str(number)): 0.25 for number in range(4)},
        **{(name, "0"): 1.0 for name in ("entropy", "unfamiliarity", "contrast", "sharpness", "anisotropy")},
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


class Arrival(logging.Handler):
    """Waits for a log line, of any thread, that has all *parts*."""

    def __init__(self, *parts: str) -> None:
        super().__init__()
        self._parts, self._arrived = parts, threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if all(part in record.getMessage() for part in self._parts):
            self._arrived.set()

    def wait(self) -> bool:
        return self._arrived.wait(timeout=30)


def test_a_started_monitor_emits_what_was_recorded(caplog: pytest.LogCaptureFixture) -> None:
    monitor = Monitor(load_metrics(), "started", "1.2.3", make_spec(), None, 0, lambda: None)
    # Unlike the other counters it has no 0 at the start.
    arrival = Arrival("fruity_photos_total", "ModelName:started", "not-a-photo")
    record(monitor, NotAPhoto("text"))

    with caplog.at_level(logging.INFO, logger="ts.metrics"):
        logging.getLogger("ts.metrics").addHandler(arrival)
        monitor.start()
        has_arrived = arrival.wait()
    logging.getLogger("ts.metrics").removeHandler(arrival)

    assert has_arrived


def test_an_archive_without_a_reference_has_no_metrics_of_it(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor(reference=None)

    monitor.emit_constants()
    record(monitor, observe(APPLE))
    monitor.emit()

    assert not [message for message in log.messages if "fruity_reference" in message]
    assert [message for message in log.messages if "fruity_labels_total" in message]


def test_an_older_server_that_lacks_a_metric_gets_the_others(log: pytest.LogCaptureFixture) -> None:
    metrics = load_metrics()
    counters, gauges = metrics.cache.values()
    del counters["fruity_labels_total"]
    gauges.clear()
    monitor = Monitor(metrics, "fruity", "1.2.3", make_spec(), REFERENCE, 0, lambda: None)

    monitor.emit_constants()
    log.clear()
    record(monitor, observe(APPLE))
    monitor.emit()

    names = {name for name, *_ in emitted(log)}
    assert "fruity_photos_total" in names
    assert not names & {"fruity_labels_total", "fruity_worker_memory_bytes"}


def test_every_metric_emitted_is_declared_and_every_one_declared_is_emitted(log: pytest.LogCaptureFixture) -> None:
    monitor = make_monitor(gpu_bytes=1)

    monitor.emit_constants()
    record(monitor, observe(UNSURE_APPLE._replace(unfamiliarity=1.5)))
    monitor.record_batch(1, decode_seconds=[0.1], inference_seconds=0.1, handler_seconds=0.1)
    monitor.record_logged(["written"])
    monitor.emit()

    kinds = {(match[1], match[4].lower()) for message in log.messages if (match := LINE.fullmatch(message))}
    assert kinds == set(declared())
    assert {name.removesuffix("_bucket") for name, _ in declared() if name.endswith("_bucket")} == set(HISTOGRAMS)
