"""The handler's spans: children of the proxy's, one after the other, and none where a request is not traced."""

import logging
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from handler.batch_decoding import Preprocessed
from handler.decode import Header
from handler.preprocess import ModelInput
from handler.problem import NotAPhoto
from handler.tracing import BatchTimes, Tracing, open_tracing
from tests.trace_collector import Collector, run_collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
PHOTO = Preprocessed(ModelInput(b"", np.zeros((1, 1, 3), np.uint8), Header(1, 1, "image/jpeg"), 0.25, 0.125), 0.25)
TIMES = BatchTimes(started=100.0, preprocessed=102.0, inference_seconds=0.5)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    with run_collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        yield running


def test_each_request_of_a_batch_gets_the_stages_of_its_own_photos(collector: Collector) -> None:
    text = Preprocessed(NotAPhoto("text"), 0.25)
    headers = [TRACED, {}, {"traceparent": f"00-{TRACE}-{SPAN}-00"}, TRACED]

    Tracing().record_batch(headers, [[PHOTO], [PHOTO], [PHOTO], [PHOTO, text]], TIMES)

    spans = collector.wait_for(lambda spans: len(spans) == 9)
    handlers = [span for span in spans if span.name == "handler"]
    assert {(span.trace_id.hex(), span.parent_span_id.hex()) for span in handlers} == {(TRACE, SPAN)}
    first, last = (
        [
            (span.name, round((span.start_time_unix_nano - handler.start_time_unix_nano) / 1e9, 3))
            for span in spans
            if span.parent_span_id == handler.span_id
        ]
        for handler in handlers
    )
    # Seconds after the handler's start: all preprocessing ends at 2, four photos take 0.375 s, the last one 0.25 s.
    assert first == [("decode", 0.25), ("preprocess", 0.5), ("inference", 2.0)]
    assert last == [("decode", 1.375), ("preprocess", 1.625), ("decode", 1.75), ("inference", 2.0)]


def test_a_refused_request_has_no_stages(collector: Collector) -> None:
    Tracing().record_batch([TRACED, {}], [[], [PHOTO]], TIMES)

    assert [span.name for span in collector.wait_for(lambda spans: len(spans) >= 1)] == ["handler"]


def test_without_the_setting_or_the_package_there_are_no_traces(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert open_tracing({}) is None
    assert isinstance(open_tracing(environment), Tracing)

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with caplog.at_level(logging.WARNING):
        assert open_tracing(environment) is None
    assert "the extra `registry` has it" in caplog.text
