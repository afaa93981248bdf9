"""Traces of requests in OpenTelemetry: off, and free, unless OTEL_EXPORTER_OTLP_ENDPOINT is set."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from handler.preprocess import ModelInput
from handler.problem import Problem
from handler.request import Request

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
        self,
        headers: Sequence[Mapping[str, str]],
        requests: Sequence[Request | Problem],
        inputs: Sequence[ModelInput | Problem],
        decode_seconds: Sequence[float],
        times: BatchTimes,
    ) -> None:
        """Send the spans of each request that is traced: the handler's, and below it those of its photos' stages."""
        photos = _place_photos(inputs, decode_seconds, times.preprocessed)
        for own_headers, request in zip(headers, requests, strict=True):
            own = [next(photos) for _ in range(0 if isinstance(request, Problem) else len(request.photos))]
            if _HEADER not in own_headers:
                continue
            handler = self._send("handler", self._read(own_headers), times.started, time.perf_counter())
            for photo in own:
                for name, start, end in photo:
                    self._send(name, handler, start, end)
            if own:
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


def _place_photos(
    inputs: Sequence[ModelInput | Problem], decode_seconds: Sequence[float], end: float
) -> Iterator[list[tuple[str, float, float]]]:
    """Yield the stages of each photo with start and end; one follows the other, and the last one ends at *end*."""
    resampling = [given.preprocess_seconds if isinstance(given, ModelInput) else 0.0 for given in inputs]
    start = end - sum(decode_seconds) - sum(resampling)
    for decoding, rest in zip(decode_seconds, resampling, strict=True):
        decoded = start + decoding
        yield [("decode", start, decoded), *([("preprocess", decoded, decoded + rest)] if rest else [])]
        start = decoded + rest
