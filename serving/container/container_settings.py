"""The container's settings: environment variables, checked once (docs/container.md has the table)."""

from __future__ import annotations  # the parsers stand below the settings

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from serving.container.exit_codes import ContainerExit, ExitCode


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """Each field is the environment variable of the same name in capitals, with its parser and its own exit code."""

    port: Annotated[int, _whole_number(1, 65_535)] = 8080
    aip_http_port: Annotated[int | None, _whole_number(1, 65_535)] = None
    """Vertex AI sets these three: the port instead of `port`, and the paths that it asks for readiness and photos."""
    aip_health_route: Annotated[str | None, _route] = None
    aip_predict_route: Annotated[str | None, _route] = None
    metrics_port: Annotated[int, _whole_number(1, 65_535)] = 8084
    """Of the supervisor's metrics, on loopback."""
    model_uri: Annotated[str | None, _archive_uri, ExitCode.ARCHIVE] = None
    """A registry and a version, gs://bucket/prefix/1.0.0 or /folder/1.0.0; None: the archive in the image."""
    public_key: Annotated[Path | None, _readable_file, ExitCode.SIGNATURE] = None
    api_keys: Annotated[Path | None, _readable_file, ExitCode.KEYS] = None
    tls_certificate: Annotated[Path | None, _readable_file, ExitCode.TLS] = None
    tls_key: Annotated[Path | None, _readable_file, ExitCode.TLS] = None
    trusted_proxies: Annotated[tuple[str, ...], _networks] = ()
    """Networks whose X-Forwarded-For is believed."""
    cors_origins: Annotated[tuple[str, ...], _origins] = ()
    """Origins whose pages may read answers in a browser, as https://shop.example; `*`: all."""
    connections_per_client: Annotated[int, _whole_number(1, 100_000)] = 256
    requests_per_client: Annotated[int, _whole_number(0, 100_000)] = 0
    """Per second; 0: no limit."""
    prediction_log: Annotated[Path | None, _absolute] = None
    """The folder of the prediction log; handler/prediction_log.py reads its other settings."""
    log_uri: Annotated[str | None, _storage_uri] = None
    """Where the prediction log's finished files are moved to: gs://bucket/prefix or a folder."""
    start_timeout_s: Annotated[int, _whole_number(1, 3600)] = 120
    corrections_uri: Annotated[str | None, _storage_uri] = None
    """Where corrections are kept that clients post, gs://bucket/prefix or a folder; None: nowhere."""
    otel_exporter_otlp_endpoint: Annotated[str | None, _http_url] = None
    """Where traces are sent; None: nowhere."""
    otel_traces_sampler_arg: Annotated[float, _share] = 1.0
    """The share of the requests that are traced, of those that bring no trace of their own."""
    run_folder: Annotated[Path, _absolute, ExitCode.SPACE] = Path("/tmp/fruity")  # noqa: S108
    """The one folder that a read-only container can write to."""


def read_settings(environment: Mapping[str, str]) -> ContainerSettings:
    """Return the settings in *environment*, where an empty value counts as not set; raise `ContainerExit`."""
    given: dict[str, Any] = {}
    for name, hint in get_type_hints(ContainerSettings, include_extras=True).items():
        if value := environment.get(name.upper(), "").strip():
            given[name] = _parse(name.upper(), value, *hint.__metadata__)
    settings = ContainerSettings(**given)
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        allowed = "set both, or neither for plain HTTP"
        raise ContainerExit(ExitCode.TLS, f"only one of TLS_CERTIFICATE and TLS_KEY is set; {allowed}")
    if settings.aip_http_port is not None:
        settings = replace(settings, port=settings.aip_http_port)
    if settings.log_uri and not settings.prediction_log:
        settings = replace(settings, prediction_log=settings.run_folder / "predictions")
    return settings


# By hand: the errors of msgspec name no range, and its lax mode would read `PUBLIC_KEY=null` as not set.
def _parse(name: str, value: str, parse: Callable[[str], Any], code: ExitCode = ExitCode.SETTING) -> Any:
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


def _absolute(value: str) -> Path:
    return Path(value).absolute()


def _readable_file(value: str) -> Path:
    with Path(value).open("rb"):
        # Symbolic links are kept: Kubernetes and certbot rotate a secret by changing one.
        return Path(value).absolute()


# nginx compares with the normalised path, which has no empty segment and none that starts with a dot.
_ROUTE = re.compile(r"/|(/[A-Za-z0-9_~:@-][A-Za-z0-9._~:@-]{0,99}){1,9}")
_TAKEN_ROUTE = re.compile(
    r"/docs(/.*)?|/openapi\.yaml|/corrections|/v1/models|/v2|/(sized|unsized|canary|canary_draw|closing|problem)(/.*)?"
)


def _route(value: str) -> str:
    if not _ROUTE.fullmatch(value):
        raise ValueError("it must be a path of letters, digits and the signs . _ ~ : @ -, as /v1/endpoints/1:predict")
    if _TAKEN_ROUTE.fullmatch(value):
        raise ValueError("this path is the server's own; choose another one")
    return value


def _address(pattern: str, must: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"it must be {must}")
        return value.rstrip("/")

    return parse


_http_url = _address(r"https?://[^\s/]+(/\S*)?", "an address, as http://127.0.0.1:4318")
_storage_uri = _address(r"gs://[^/\s]+(/[^/\s]+)*/?|/[^\s:]+", "a bucket or a folder, as gs://bucket/prefix or /folder")
_archive_uri = _address(
    r"(gs://[^/\s]+(/[^/\s]+)*|/[^\s]*|\.{0,2}[^:/\s][^:\s]*)/\d+\.\d+\.\d+/?",
    "a bucket or a folder with a version at the end, as gs://bucket/prefix/1.0.0 or /models/1.0.0",
)
_ORIGIN = re.compile(r"https?://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


def _networks(value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(network.strip())) for network in value.split(","))
    except ValueError as error:
        raise ValueError(f"{error}; it must be networks, as 10.0.0.0/8,fd00::/8") from error


def _origins(value: str) -> tuple[str, ...]:
    # nginx refuses a map that has an entry twice.
    origins = tuple(dict.fromkeys(origin.strip().lower() for origin in value.split(",")))
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("it must be origins, as https://shop.example,http://localhost:3000, or *")
    return origins
