"""The supervisor's own metrics, in Prometheus's format on loopback: requests as clients see them, and the container."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.health import Health
from serving.container.process_metrics import ProcessMetrics

# From a small photo's answer to more than the proxy's longest wait; the objective of half a second is one of them.
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_API = ("predictions", "explanations")
# Those of other protocols, without their readiness and metadata.
_OTHER_NAMES = (
    ("predictions", re.compile(r"/v1/models/[^:]*:predict|/v2/models/.*/infer")),
    ("explanations", re.compile(r"/v1/models/[^:]*:explain")),
)
_ROUTES = {**{name: name for name in (*_API, "corrections", "docs")}, "openapi.yaml": "docs"}


class LoggedRequest(msgspec.Struct, rename="camel"):
    """The member `httpRequest` of a line of the access log (dockerfiles/serve/nginx.conf)."""

    request_method: str
    request_url: str
    status: int
    latency: Annotated[str, msgspec.Meta(pattern=r"^\d+\.\d+s$")]


class _Line(msgspec.Struct, rename="camel"):
    http_request: LoggedRequest


class RequestMetrics:
    """Counts the lines of nginx's access log: time from a request's first byte to its answer's last."""

    def __init__(self, registry: CollectorRegistry, predict_route: str | None = None) -> None:
        """*predict_route* is a path beside fruity's own that takes photos."""
        self._predict_route = predict_route
        names = ("route", "code")
        text = "Time of a request as its client sees it; code 499: the client gave up."
        self._seconds = Histogram("fruity_proxy_request_seconds", text, names, buckets=_BUCKETS_S, registry=registry)
        # `rate` does not see the first value of a series, so those of the objectives start at 0.
        for route in _API:
            for code in ("200", "500", "503", "504"):
                self._seconds.labels(route, code)

    def record(self, line: Mapping[str, object]) -> None:
        """Count *line* if it is one of a request."""
        with contextlib.suppress(msgspec.ValidationError):
            request = msgspec.convert(line, _Line).http_request
            route = self._find_route(request.request_url)
            # GET describes the model, which takes another time.
            if route in _API and request.request_method not in ("POST", "PUT"):
                route = "docs"
            self._seconds.labels(route, request.status).observe(float(request.latency[:-1]))

    def _find_route(self, path: str) -> str:
        # A fixed set: paths are the clients' own.
        if path == self._predict_route:
            return "predictions"
        for route, pattern in _OTHER_NAMES:
            if pattern.fullmatch(path):
                return route
        return _ROUTES.get(path.lstrip("/").partition("/")[0], "other")


@contextlib.contextmanager
def serve_metrics(port: int, registry: CollectorRegistry, health: Health, run_folder: Path) -> Iterator[None]:
    """Answer at *port* of loopback while the block runs; raises `ContainerExit` if it is in use."""
    registry.register(ProcessMetrics(health, run_folder))
    try:
        server, _ = start_http_server(port, "127.0.0.1", registry)
    except OSError as error:
        reason = f"METRICS_PORT is {port}, which cannot be opened ({error.strerror}); choose another one"
        raise ContainerExit(ExitCode.PORT, reason) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
