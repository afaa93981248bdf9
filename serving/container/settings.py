"""What the environment asks of the container, checked once."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from serving.container.exits import Ending, Exit

_Value = TypeVar("_Value")


@dataclass(frozen=True, kw_only=True)
class Settings:
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
    """A second; 0: any number."""
    start_timeout_s: int = 120
    folder: Path = Path("/tmp/fruity")  # noqa: S108, the one place that a read-only container can write to

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of *environment*; an empty value counts as none. Raises `Ending`."""
        given = {name: value.strip() for name, value in environment.items() if value.strip()}

        def take(name: str, parse: Callable[[str, str], _Value], default: _Value) -> _Value:
            return parse(name, given[name]) if name in given else default

        settings = cls(
            port=take("PORT", _whole_number(1, 65535), cls.port),
            model_uri=take("MODEL_URI", _model_uri, None),
            public_key=take("PUBLIC_KEY", _file(Exit.SIGNATURE), None),
            api_keys=take("API_KEYS", _file(Exit.KEYS), None),
            tls_certificate=take("TLS_CERTIFICATE", _file(Exit.TLS), None),
            tls_key=take("TLS_KEY", _file(Exit.TLS), None),
            trusted_proxies=take("TRUSTED_PROXIES", _networks, ()),
            connections_per_client=take("CONNECTIONS_PER_CLIENT", _whole_number(1, 100_000), 256),
            requests_per_client=take("REQUESTS_PER_CLIENT", _whole_number(0, 100_000), 0),
            start_timeout_s=take("START_TIMEOUT_S", _whole_number(1, 3600), cls.start_timeout_s),
            folder=take("RUN_FOLDER", lambda _, value: Path(value).absolute(), cls.folder),
        )
        if (settings.tls_certificate is None) != (settings.tls_key is None):
            raise Ending(Exit.TLS, "only one of TLS_CERTIFICATE and TLS_KEY is set; set both, or none for plain HTTP")
        return settings


def _whole_number(least: int, most: int) -> Callable[[str, str], int]:
    def parse(name: str, value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= 9 and least <= int(value) <= most):
            raise Ending(Exit.SETTING, f"{name} is {value[:40]!r}, it must be a whole number from {least} to {most}")
        return int(value)

    return parse


def _file(exit_code: Exit) -> Callable[[str, str], Path]:
    def parse(name: str, value: str) -> Path:
        try:
            with Path(value).open("rb"):
                # Links stay: Kubernetes and certbot rotate a secret by turning one.
                return Path(value).absolute()
        except OSError as error:
            raise Ending(
                exit_code, f"{name} is {value}, which cannot be read ({error.strerror}); mount the file there"
            ) from error

    return parse


def _model_uri(name: str, value: str) -> str:
    if not re.fullmatch(r"(gs://[^/\s]+(/[^/\s]+)*|/[^\s]*|\.{0,2}[^:/\s][^:\s]*)/\d+\.\d+\.\d+/?", value):
        raise Ending(
            Exit.ARCHIVE,
            f"{name} is {value[:200]!r}, it must be a bucket or a folder with a version at the end, as "
            "gs://bucket/prefix/1.0.0 or /models/1.0.0",
        )
    return value.rstrip("/")


def _networks(name: str, value: str) -> tuple[str, ...]:
    try:
        return tuple(str(ipaddress.ip_network(network.strip())) for network in value.split(","))
    except ValueError as error:
        raise Ending(
            Exit.SETTING, f"{name} is {value[:200]!r}: {error}; it must be networks as 10.0.0.0/8,fd00::/8"
        ) from error
