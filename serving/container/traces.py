"""The proxy's span of each traced request, from nginx's access log; the handler's spans are its children.

nginx passes the header `traceparent` on (W3C Trace Context) and logs it where traces are on (proxy_config.py).
"""

import contextlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from serving.container.exporter import LoggedRequest


class _Line(msgspec.Struct):
    http_request: LoggedRequest = msgspec.field(name="httpRequest")
    traceparent: Annotated[str, msgspec.Meta(pattern="^00-[0-9a-f]{32}-[0-9a-f]{16}-01$")]
    """Of the proxy's own span; other flags than 01: the request is not traced."""
    parent_span: str
    """The client's span, or empty."""
    end_s: float


class ProxySpans:
    """Sends spans to OTEL_EXPORTER_OTLP_ENDPOINT from a thread of its own; what cannot be sent is dropped."""

    def __init__(self) -> None:
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._resource = Resource.create({"service.name": "fruity-proxy"})

    def record(self, line: Mapping[str, object]) -> None:
        """Send the span of *line* if it is one of a traced request."""
        with contextlib.suppress(msgspec.ValidationError):
            self._processor.on_end(self._span(msgspec.convert(line, _Line)))

    def _span(self, line: _Line) -> ReadableSpan:
        request = line.http_request
        _, trace, span, _ = line.traceparent.split("-")
        parent = _context(trace, line.parent_span) if line.parent_span else None
        attributes: dict[str, AttributeValue] = {
            "http.request.method": request.request_method,
            "url.path": request.request_url,
            "http.response.status_code": request.status,
        }
        end_ns = int(line.end_s * 1e9)
        # Made directly: a tracer would choose the id, which the handler's spans have as their parent already.
        return ReadableSpan(
            name=f"{request.request_method} {request.request_url}",
            context=_context(trace, span),
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if request.status >= 500 else StatusCode.UNSET),
            start_time=end_ns - int(float(request.latency[:-1]) * 1e9),
            end_time=end_ns,
        )


def _context(trace: str, span: str) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
