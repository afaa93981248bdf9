"""The container's settings: environment variables, checked once (docs/container.md has the table).

Parsed by hand. msgspec was tried: its errors name no range, each kind of value needs a hook, and its lax mode reads
`PUBLIC_KEY=null` as not set, which would turn verification off.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.container.exit_codes import ContainerExit, ExitCode

_ARCHIVE_URI = re.compile(r"(gs://[^/\s]+(/[^/\s]+)*|/[^\s]*|\.{0,2}[^:/\s][^:\s]*)/\d+\.\d+\.\d+/?")


@dataclass(frozen=True, kw_only=True)
class ContainerSettings:
    """Each field is the environment variable of the same name in capitals."""

    port: int = 8080
    model_uri: str | None = None
    """A registry and a version, gs://bucket/prefix/1.0.0 or /folder/1.0.0; None: the archive in the image."""
    public_key: Path | None = None
    api_keys: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For is believed."""
    connections_per_client: int = 256
    requests_per_client: int = 0
    """Per second; 0: no limit."""
    start_timeout_s: int = 120
    run_folder: Path = Path("/tmp/fruity")  # noqa: S108, the one folder that a read-only container can write to


def read_settings(environment: Mapping[str, str]) -> ContainerSettings:
    """Return the settings in *environment*, where an empty value counts as not set; raise `ContainerExit`."""
    given = {name: value for name, text in environment.items() if name in _PARSERS and (value := text.strip())}
    values: dict[str, Any] = {name.lower(): _PARSERS[name](name, value) for name, value in given.items()}
    settings = ContainerSettings(**values)
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise ContainerExit(
            ExitCode.TLS, "only one of TLS_CERTIFICATE and TLS_KEY is set; set both, or neither for plain HTTP"
        )
    return settings


def _whole_number(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", value) and least <= int(value) <= most):
            raise ContainerExit(
                ExitCode.SETTING, f"{name} is {value[:40]!r}, it must be a whole number from {least} to {most}"
            )
        return int(value)

    return parse


def _readable_file(code: ExitCode) -> Callable[[str, str], Path]:
    def parse(name: str, value: str) -> Path:
        try:
            with Path(value).open("rb"):
                # Symbolic links are kept: Kubernetes and certbot rotate a secret by changing one.
                return Path(value).absolute()
        except OSError as error:
            raise ContainerExit(
                code, f"{name} is {value}, which cannot be read ({error.strerror}); mount the file there"
            ) from error

    return parse


def _archive_uri(name: str, value: str) -> str:
    if not _ARCHIVE_URI.fullmatch(value):
        raise ContainerExit(
            ExitCode.ARCHIVE,
            f"{name} is {value[:200]!r}, it must be a bucket or a folder with a version at the end, as "
            "gs://bucket/prefix/1.0.0 or /models/1.0.0",
        )
    return value.rstrip("/")


def _networks(name: str, value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(network.strip())) for network in value.split(","))
    except ValueError as error:
        raise ContainerExit(
            ExitCode.SETTING, f"{name} is {value[:200]!r}: {error}; it must be networks, as 10.0.0.0/8,fd00::/8"
        ) from error


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "PORT": _whole_number(1, 65_535),
    "MODEL_URI": _archive_uri,
    "PUBLIC_KEY": _readable_file(ExitCode.SIGNATURE),
    "API_KEYS": _readable_file(ExitCode.KEYS),
    "TLS_CERTIFICATE": _readable_file(ExitCode.TLS),
    "TLS_KEY": _readable_file(ExitCode.TLS),
    "TRUSTED_PROXIES": _networks,
    "CONNECTIONS_PER_CLIENT": _whole_number(1, 100_000),
    "REQUESTS_PER_CLIENT": _whole_number(0, 100_000),
    "START_TIMEOUT_S": _whole_number(1, 3600),
    "RUN_FOLDER": lambda _, value: Path(value).absolute(),
}
