"""The container's settings: environment variables, checked once (docs/container.md has the table)."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving.container.exit_codes import ContainerExit, ExitCode

_STORAGE_URI = re.compile(r"gs://[^/\s]+(/[^/\s]+)*/?|/[^\s:]+")
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_ARCHIVE_URI = re.compile(r"(gs://[^/\s]+(/[^/\s]+)*|/[^\s]*|\.{0,2}[^:/\s][^:\s]*)/\d+\.\d+\.\d+/?")
# nginx compares with the normalised path, which has no empty segment and none that starts with a dot.
_ROUTE = re.compile(r"/|(/[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]{0,99}){1,9}")
_TAKEN_ROUTE = re.compile(
    r"/docs(/.*)?|/openapi\.yaml|/corrections|/v1/models|/v2|/(sized|unsized|canary|canary_draw|closing|problem)(/.*)?"
)


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """Each field is the environment variable of the same name in capitals."""

    port: int = 8080
    aip_http_port: int | None = None
    """Vertex AI sets these three: the port instead of `port`, and the paths that it asks for readiness and photos."""
    aip_health_route: str | None = None
    aip_predict_route: str | None = None
    metrics_port: int = 8084
    """Of the supervisor's metrics, on loopback."""
    model_uri: str | None = None
    """A registry and a version, gs://bucket/prefix/1.0.0 or /folder/1.0.0; None: the archive in the image."""
    public_key: Path | None = None
    api_keys: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may read answers in a browser, as https://shop.example; `*`: all."""
    connections_per_client: int = 256
    requests_per_client: int = 0
    """Per second; 0: no limit."""
    prediction_log: Path | None = None
    """The folder of the prediction log; handler/prediction_log.py reads its other settings."""
    log_uri: str | None = None
    """Where the prediction log's finished files are moved to: gs://bucket/prefix or a folder."""
    start_timeout_s: int = 120
    corrections_uri: str | None = None
    """Where corrections are kept that clients post, gs://bucket/prefix or a folder; None: nowhere."""
    otel_exporter_otlp_endpoint: str | None = None
    """Where traces are sent; None: nowhere."""
    otel_traces_sampler_arg: float = 1.0
    """The share of the requests that are traced, of those that bring no trace of their own."""
    run_folder: Path = Path("/tmp/fruity")  # noqa: S108, the one folder that a read-only container can write to


def read_settings(environment: Mapping[str, str]) -> ContainerSettings:
    """Return the settings in *environment*, where an empty value counts as not set; raise `ContainerExit`."""
    given = {name: value for name, text in environment.items() if name in _PARSERS and (value := text.strip())}
    settings = ContainerSettings(**{name.lower(): _parse(name, value) for name, value in given.items()})
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        allowed = "set both, or neither for plain HTTP"
        raise ContainerExit(ExitCode.TLS, f"only one of TLS_CERTIFICATE and TLS_KEY is set; {allowed}")
    if settings.aip_http_port is not None:
        settings = replace(settings, port=settings.aip_http_port)
    if settings.log_uri and not settings.prediction_log:
        settings = replace(settings, prediction_log=settings.run_folder / "predictions")
    return settings


def _parse(name: str, value: str) -> Any:
    code, parse = _PARSERS[name]
    try:
        return parse(value)
    except OSError as error:
        reason = f"it cannot be read ({error.strerror}); mount the file there"
        raise ContainerExit(code, f"{name} is {value[:200]!r}: {reason}") from error
    except ValueError as error:
        raise ContainerExit(code, f"{name} is {value[:200]!r}: {error}") from error


def _whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", value) and least <= int(value) <= most):
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return parse


def _share(value: str) -> float:
    if not (re.fullmatch(r"[0-9]*\.?[0-9]+", value) and 0.0001 <= float(value) <= 1):
        raise ValueError("it must be a number from 0.0001 to 1")
    return float(value)


def _http_url(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError("it must be an address, as http://127.0.0.1:4318")
    return value


def _readable_file(value: str) -> Path:
    with Path(value).open("rb"):
        # Symbolic links are kept: Kubernetes and certbot rotate a secret by changing one.
        return Path(value).absolute()


def _route(value: str) -> str:
    if not _ROUTE.fullmatch(value):
        raise ValueError("it must be a path of letters, digits and the signs . _ ~ : @ -, as /v1/endpoints/1:predict")
    if _TAKEN_ROUTE.fullmatch(value):
        raise ValueError("this path is the server's own; choose another one")
    return value


def _archive_uri(value: str) -> str:
    if not _ARCHIVE_URI.fullmatch(value):
        example = "gs://bucket/prefix/1.0.0 or /models/1.0.0"
        raise ValueError(f"it must be a bucket or a folder with a version at the end, as {example}")
    return value.rstrip("/")


def _storage_uri(value: str) -> str:
    if not _STORAGE_URI.fullmatch(value):
        raise ValueError("it must be a bucket or a folder, as gs://bucket/prefix or /folder")
    return value.rstrip("/")


def _networks(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(network.strip())) for network in value.split(","))
    except ValueError as error:
        raise ValueError(f"{error}; it must be networks, as 10.0.0.0/8,fd00::/8") from error


def _origins(value: str) -> tuple[str, ...]:
    origins = tuple(origin.strip().lower() for origin in value.split(","))
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("it must be origins, as https://shop.example,http://localhost:3000, or *")
    return origins


# By hand: the errors of msgspec name no range, and its lax mode would read `PUBLIC_KEY=null` as not set.
_PARSERS: dict[str, tuple[ExitCode, Callable[[str], Any]]] = {
    "PORT": (ExitCode.SETTING, _whole_number(1, 65_535)),
    "AIP_HTTP_PORT": (ExitCode.SETTING, _whole_number(1, 65_535)),
    "AIP_HEALTH_ROUTE": (ExitCode.SETTING, _route),
    "AIP_PREDICT_ROUTE": (ExitCode.SETTING, _route),
    "METRICS_PORT": (ExitCode.SETTING, _whole_number(1, 65_535)),
    "MODEL_URI": (ExitCode.ARCHIVE, _archive_uri),
    "PUBLIC_KEY": (ExitCode.SIGNATURE, _readable_file),
    "API_KEYS": (ExitCode.KEYS, _readable_file),
    "TLS_CERTIFICATE": (ExitCode.TLS, _readable_file),
    "TLS_KEY": (ExitCode.TLS, _readable_file),
    "TRUSTED_PROXIES": (ExitCode.SETTING, _networks),
    "CORS_ORIGINS": (ExitCode.SETTING, _origins),
    "CONNECTIONS_PER_CLIENT": (ExitCode.SETTING, _whole_number(1, 100_000)),
    "REQUESTS_PER_CLIENT": (ExitCode.SETTING, _whole_number(0, 100_000)),
    "PREDICTION_LOG": (ExitCode.SETTING, lambda value: Path(value).absolute()),
    "LOG_URI": (ExitCode.SETTING, _storage_uri),
    "START_TIMEOUT_S": (ExitCode.SETTING, _whole_number(1, 3600)),
    "CORRECTIONS_URI": (ExitCode.SETTING, _storage_uri),
    "OTEL_EXPORTER_OTLP_ENDPOINT": (ExitCode.SETTING, _http_url),
    "OTEL_TRACES_SAMPLER_ARG": (ExitCode.SETTING, _share),
    "RUN_FOLDER": (ExitCode.SPACE, lambda value: Path(value).absolute()),
}
