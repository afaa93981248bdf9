"""Servers that `make serve` starts in tests, and what a promotion leaves in the model store."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from serving.rollout.record import Record, write_record
from serving.torchserve import Addresses, TorchServeError


class Started(NamedTuple):
    config: Path
    archive: Path


class FakeServer:
    """Is ready at once and ends by itself; nothing listens at its management address."""

    addresses = Addresses("http://127.0.0.1:8080", "http://127.0.0.1:9", "http://127.0.0.1:9")
    stopped: ClassVar[bool]

    environment: ClassVar[Mapping[str, str]]
    started: ClassVar[Started]

    def __init__(self, config: Path, _: Path, archive: Path, environment: Mapping[str, str]) -> None:
        FakeServer.stopped, FakeServer.environment = False, environment
        FakeServer.started = Started(config, archive)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        FakeServer.stopped = True

    def wait_until_ready(self, timeout_s: float) -> str:
        return "1.2.3"

    def wait(self) -> None:
        """Return at once: the process has ended."""


class TerminatedServer(FakeServer):
    def wait(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


class PortlessServer(FakeServer):
    def __enter__(self) -> Self:
        raise TorchServeError("port 8080 is taken")


def promote(store: Path, version: str, archive: Path | None = None, **record: Any) -> None:
    """Write into *store* what a promotion of *version* leaves there."""
    store.mkdir()
    (store / "fruity.mar").write_bytes(archive.read_bytes() if archive else b"promoted")
    write_record(store, Record(default=version, **record))
