"""Readiness and liveness: the model is checked periodically; /readyz and /healthz give the result to nginx."""

import json
import socketserver
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx

from handler.problem import MEDIA_TYPE
from model_archive.golden import GoldenSample
from model_archive.identity import ArchiveError
from serving.container.archive_placement import STORE
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.json_log import log
from serving.management import Management, Version
from serving.readiness import Busy, NotReady, check_ready, read_golden_sample
from serving.torchserve import MODEL, TorchServe, TorchServeError

INTERVAL_S = 5.0
# Without an answer for this long the container is stuck, and ends so that its platform replaces it.
_STUCK_S = 60.0
# A platform may freeze the container between requests: the check under way then fails, but not the next ones.
_STUCK_CHECKS = 3
_MAX_DEATHS = 2
_DEATHS_WINDOW_S = 60.0

# The members of each page's answer when all is well; True becomes False otherwise. Without: fruity's own shape.
_PAGES: Mapping[str, Mapping[str, object]] = {
    "/healthz": {},
    "/v2/health/live": {"live": True},
    "/readyz": {},
    f"/v1/models/{MODEL}": {"name": MODEL, "ready": True},
    "/v2/health/ready": {"ready": True},
    f"/v2/models/{MODEL}/ready": {"name": MODEL, "ready": True},
}
_LIVENESS = ("/healthz", "/v2/health/live")


class Health:
    """Written by one thread, read by others; a reason is empty when all is well."""

    def __init__(self, unready_reason: str = "the model is not loaded yet") -> None:
        self.unready_reason = unready_reason
        self.queued_requests = 0
        self.clock: Callable[[], float] = time.monotonic
        self._last_answer_s = self.clock()
        self._failed_checks = 0
        self._stopping = False
        self._workers: dict[str, int] = {}
        self._deaths_s: deque[float] = deque()

    @property
    def stuck_reason(self) -> str:
        """Why the container must be replaced."""
        silent_s = self.clock() - self._last_answer_s
        stuck = self._failed_checks >= _STUCK_CHECKS and silent_s > _STUCK_S
        return f"the model has not answered for {silent_s:.0f} s" if stuck else ""

    def stop(self) -> None:
        """Be unready from now on."""
        self._stopping = True
        self.unready_reason = "the container is stopping"

    def check(self, ask: Callable[[], dict[str, int]]) -> None:
        """Check once: *ask* returns the process id of each worker if the model answers, else raises `NotReady`."""
        num_failed = 0
        try:
            deaths = self._count_deaths(ask())
            reason = f"{deaths} workers died within {_DEATHS_WINDOW_S:.0f} s" if deaths > _MAX_DEATHS else ""
        except Busy:
            # Readiness stays: otherwise the load would move to the next instance, and then to the one after it.
            reason = self.unready_reason
        except NotReady as error:
            reason, num_failed = str(error), self._failed_checks + 1
        if not num_failed:
            self._last_answer_s = self.clock()
        self._failed_checks = num_failed
        if not self._stopping:
            self.unready_reason = reason

    def _count_deaths(self, workers: dict[str, int]) -> int:
        """Count recent restarts: TorchServe starts a dead worker under its old name, as a new process."""
        now_s = self.clock()
        self._deaths_s.extend(now_s for name, process in workers.items() if self._workers.get(name, process) != process)
        self._workers = workers
        while self._deaths_s and self._deaths_s[0] < now_s - _DEATHS_WINDOW_S:
            self._deaths_s.popleft()
        return len(self._deaths_s)


def watch_model(
    server: TorchServe, settings: ContainerSettings, health: Health, end: Callable[[ContainerExit], None]
) -> None:
    """Keep *health* up to date; call *end* if the model is not ready in time or is stuck, or if the check fails."""
    try:
        version = server.wait_until_ready(settings.start_timeout_s)
        _check_until_stuck(server, settings, health, version)
        end(ContainerExit(ExitCode.TORCHSERVE, f"{health.stuck_reason}; the log above may say why"))
    except TorchServeError as reason:
        end(ContainerExit(ExitCode.MODEL, f"{reason}"))
    except (ArchiveError, OSError) as reason:
        end(ContainerExit(ExitCode.ARCHIVE, f"the archive cannot be read: {reason}"))
    # Without this thread the container would report its last state for ever.
    except Exception:
        end(ContainerExit(ExitCode.BUG, traceback.format_exc().strip()))


def _check_until_stuck(server: TorchServe, settings: ContainerSettings, health: Health, version: str) -> None:
    # The default version may change at run time; each archive has its own golden samples.
    def golden_of(default: Version) -> list[GoldenSample]:
        # Before the golden sample is sent, which a full queue refuses.
        health.queued_requests = default.job_queue_status.pending_requests
        return read_golden_sample(settings.run_folder / STORE, default)

    def ask() -> dict[str, int]:
        default = check_ready(inference, Management(management), golden_of)
        return {f"{default.model_version}/{worker.id}": worker.pid for worker in default.workers}

    with (
        httpx.Client(base_url=server.addresses.inference, timeout=10) as inference,
        httpx.Client(base_url=server.addresses.management, timeout=10) as management,
    ):
        health.check(ask)
        log("NOTICE", f"{MODEL} {version} answers at port {settings.port}")
        while not health.stuck_reason:
            time.sleep(INTERVAL_S)
            before = health.unready_reason
            health.check(ask)
            if (reason := health.unready_reason) != before:
                log("WARNING" if reason else "NOTICE", f"not ready: {reason}" if reason else "ready again")


@contextmanager
def serve_health(health: Health, folder: Path) -> Iterator[None]:
    """Answer at *folder*/health.sock while the block runs."""
    path = folder / "health.sock"
    path.unlink(missing_ok=True)
    with _Server(str(path), _Page) as server:
        server.health = health
        threading.Thread(target=server.serve_forever, name="health pages", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
            path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    health: Health


class _Page(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        health = self.server.health
        status, document = render_page(self.path.partition("?")[0], health.unready_reason, health.stuck_reason)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", MEDIA_TYPE if "type" in document else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base class names it
        """Do not log probes."""


def render_page(path: str, unready_reason: str, stuck_reason: str) -> tuple[HTTPStatus, Mapping[str, object]]:
    """Return the status and document at *path*; a reason is empty when all is well."""
    if path not in _PAGES:
        return HTTPStatus.NOT_FOUND, _problem(HTTPStatus.NOT_FOUND, "Not found", path)
    members = _PAGES[path]
    if not (reason := stuck_reason if path in _LIVENESS else unready_reason):
        return HTTPStatus.OK, members or {"status": "ok"}
    if not members:
        return HTTPStatus.SERVICE_UNAVAILABLE, _problem(HTTPStatus.SERVICE_UNAVAILABLE, "Not ready", reason)
    negated = {name: False if value is True else value for name, value in members.items()}
    return HTTPStatus.SERVICE_UNAVAILABLE, {**negated, "error": reason}


def _problem(status: HTTPStatus, title: str, detail: str) -> Mapping[str, object]:
    return {"type": "urn:fruity:not-ready", "title": title, "status": status, "detail": detail}
