"""A thread that waits until the model is ready, and then checks it periodically."""

import threading
import traceback
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import httpx

from model_archive.golden import GoldenSample, read_golden
from model_archive.identity import ArchiveError
from serving.container.archive_placement import STORE
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.health import Health
from serving.container.json_log import log
from serving.readiness import NotReady, check_ready, read_default
from serving.torchserve import MODEL, TorchServe, TorchServeError

INTERVAL_S = 5.0
_TIMEOUT_S = 10


def watch_model(
    server: TorchServe, settings: ContainerSettings, health: Health, end: Callable[[ContainerExit], None]
) -> None:
    """Keep *health* up to date; call *end* if the model is not ready in time, or if the check itself fails."""
    try:
        version = server.wait_until_ready(settings.start_timeout_s)
        _check_periodically(server, settings, health, version)
    except TorchServeError as reason:
        end(ContainerExit(ExitCode.MODEL, f"{reason}"))
    except (ArchiveError, OSError) as reason:
        end(ContainerExit(ExitCode.ARCHIVE, f"the archive cannot be read: {reason}"))
    # Without this thread the container would report its last state for ever.
    except Exception:
        end(ContainerExit(ExitCode.BUG, traceback.format_exc().strip()))


def _check_periodically(server: TorchServe, settings: ContainerSettings, health: Health, version: str) -> None:
    with (
        httpx.Client(base_url=server.addresses.inference, timeout=_TIMEOUT_S) as inference,
        httpx.Client(base_url=server.addresses.management, timeout=_TIMEOUT_S) as management,
    ):

        def ask() -> dict[str, int]:
            default = read_default(management, MODEL)
            # The default version may change at run time; each archive has its own golden samples.
            try:
                golden = _read_golden_sample(settings.run_folder / STORE / default.archive_name, default.version)
            except (ArchiveError, OSError) as reason:
                raise NotReady(f"the golden sample of {default.version} cannot be read: {reason}") from reason
            check_ready(inference, management, MODEL, golden)
            return default.processes

        health.check(ask)
        log("NOTICE", f"{MODEL} {version} answers at port {settings.port}")
        while not threading.Event().wait(INTERVAL_S):
            before = health.unready_reason
            health.check(ask)
            if health.unready_reason != before:
                reason = health.unready_reason
                log("WARNING" if reason else "NOTICE", f"not ready: {reason}" if reason else "ready again")


@lru_cache(maxsize=4)
def _read_golden_sample(archive: Path, version: str) -> list[GoldenSample]:
    """Return the first golden sample, whose label is the same whatever the CPU's rounding; one is cheap to ask."""
    return read_golden(archive)[:1]
