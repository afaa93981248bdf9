"""A collector of OpenTelemetry traces, OTLP over HTTP."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.http_server import Request, serve_http


class Collector:
    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []

    def answer(self, request: Request) -> tuple[int, object]:
        assert request.path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return 200, b""

    def wait_for(self, is_complete: Callable[[list[Span]], bool]) -> list[Span]:
        deadline = time.monotonic() + 30
        while not is_complete(self.spans):
            assert time.monotonic() < deadline, self.spans
            time.sleep(0.05)
        return self.spans


@contextmanager
def run_collector() -> Iterator[Collector]:
    collector = Collector()
    with serve_http(collector.answer) as collector.url:
        yield collector
