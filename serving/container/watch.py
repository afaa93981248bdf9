"""A thread that waits until the model answers, and then asks it again and again."""

import threading
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import httpx

from model_archive.golden import GoldenPhoto, read_golden
from model_archive.identity import ArchiveError
from serving.container.exits import Ending, Exit
from serving.container.health import Health
from serving.container.log import log
from serving.container.model import STORE
from serving.container.settings import Settings
from serving.readiness import NotReady, check_ready, read_default
from serving.torchserve import MODEL, TorchServe, TorchServeError

INTERVAL_S = 5.0
_TIMEOUT_S = 10


def watch_model(server: TorchServe, settings: Settings, health: Health, end: Callable[[Ending], None]) -> None:
    """Keep *health* up to date for ever; *end* is told if the model does not answer after the start, or this fails."""
    try:
        version = _wait_until_ready(server, settings)
        _look_again_and_again(server, settings, health, version)
    except Ending as ending:
        end(ending)
    # Without this thread the container would say for ever what it said last.
    except Exception:
        end(Ending(Exit.BUG, traceback.format_exc().strip()))


def _wait_until_ready(server: TorchServe, settings: Settings) -> str:
    try:
        return server.wait_until_ready(settings.start_timeout_s)
    except TorchServeError as reason:
        raise Ending(Exit.MODEL, f"{reason}") from reason
    except (ArchiveError, OSError) as reason:
        raise Ending(Exit.ARCHIVE, f"the archive cannot be read: {reason}") from reason


def _look_again_and_again(server: TorchServe, settings: Settings, health: Health, version: str) -> None:
    with (
        httpx.Client(base_url=server.addresses.inference, timeout=_TIMEOUT_S) as inference,
        httpx.Client(base_url=server.addresses.management, timeout=_TIMEOUT_S) as management,
    ):

        def ask() -> dict[str, int]:
            default = read_default(management, MODEL)
            # Versions are swapped while we run, and each brings its own canned photos.
            try:
                golden = _read_surest(settings.folder / STORE / default.archive_name, default.version)
            except (ArchiveError, OSError) as reason:
                raise NotReady(f"the canned photo of {default.version} cannot be read: {reason}") from reason
            check_ready(inference, management, MODEL, golden)
            return default.processes

        health.check(ask)
        log("NOTICE", f"{MODEL} {version} answers at port {settings.port}")
        while not threading.Event().wait(INTERVAL_S):
            before = health.unready_reason
            health.check(ask)
            if health.unready_reason != before:
                log("WARNING" if health.unready_reason else "NOTICE", f"ready: {health.unready_reason or 'again'}")


@lru_cache(maxsize=4)
def _read_surest(archive: Path, version: str) -> list[GoldenPhoto]:
    """Return the canned photo whose answer another CPU's rounding cannot turn; one costs little."""
    return read_golden(archive)[:1]
