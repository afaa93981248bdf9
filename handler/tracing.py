"""Traces of requests in OpenTelemetry: off, and free, unless OTEL_EXPORTER_OTLP_ENDPOINT is set."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from handler.batch_decoding import Preprocessed
from handler.preprocess import ModelInput

if TYPE_CHECKING:
    from opentelemetry.context import Context

_HEADER = "traceparent"


class BatchTimes(NamedTuple):
    """When the stages of a call of the handler were, on `time.perf_counter`."""

    started: float
    preprocessed: float
    inference_seconds: float


class Tracing:
    """Sends spans from a thread of its own; what cannot be sent is dropped."""

    def __init__(self) -> None:
        # Not in what `make serve` installs, and 0.2 s to import.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        provider = TracerProvider(resource=Resource.create({"service.name": "fruity"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer, self._enter = provider.get_tracer("fruity"), set_span_in_context
        self._read = TraceContextTextMapPropagator().extract

    def record_batch(
        self, headers: Sequence[Mapping[str, str]], photos: Sequence[Sequence[Preprocessed]], times: BatchTimes
    ) -> None:
        """Send the spans of each request that is traced: the handler's, and below it those of its photos' stages."""
        for own_headers, stages in zip(headers, _place_stages(photos, times.preprocessed), strict=True):
            if _HEADER not in own_headers:
                continue
            handler = self._send("handler", self._read(own_headers), times.started, time.perf_counter())
            for name, start, end in stages:
                self._send(name, handler, start, end)
            if stages:
                self._send("inference", handler, times.preprocessed, times.preprocessed + times.inference_seconds)

    def _send(self, name: str, parent: "Context", start: float, end: float) -> "Context":
        """Send a span, unless its parent is not sampled; return the context of its children."""
        epoch_s = time.time() - time.perf_counter()
        span = self._tracer.start_span(name, parent, start_time=int((epoch_s + start) * 1e9))
        span.end(int((epoch_s + end) * 1e9))
        return self._enter(span)


def open_tracing(environment: Mapping[str, str]) -> Tracing | None:
    """Return None if traces are off, or OpenTelemetry is not installed."""
    if not environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return None
    try:
        return Tracing()
    except ImportError as error:
        logging.getLogger(__name__).warning("no traces: %s is not installed; the extra `registry` has it", error.name)
        return None


def _place_stages(photos: Sequence[Sequence[Preprocessed]], end: float) -> Iterator[list[tuple[str, float, float]]]:
    """Yield each request's stages with start and end; one follows the other, and the last one ends at *end*."""
    start = end - sum(photo.decode_seconds + photo.preprocess_seconds for own in photos for photo in own)
    for own in photos:
        stages = []
        for photo in own:
            decoded = start + photo.decode_seconds
            stages.append(("decode", start, decoded))
            start = decoded + photo.preprocess_seconds
            if isinstance(photo.given, ModelInput):
                stages.append(("preprocess", decoded, start))
        yield stages
