"""PID 1 of the serving image, which starts, watches and ends its parts: python -m serving.container.supervisor."""

import argparse
import contextlib
import os
import queue
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from prometheus_client import CollectorRegistry
from ts.model_server import load_properties

from handler.prediction_log import read_log_settings
from handler.settings import SettingsError
from model_archive.storage import RegistryError, open_storage
from serving.container.archive_placement import STORE, place_archive
from serving.container.container_settings import ContainerSettings, read_settings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.exporter import RequestMetrics, serve_metrics
from serving.container.health import Health, serve_health, watch_model
from serving.container.json_log import log, log_pipe
from serving.container.log_upload import LogUpload
from serving.container.proxy import Proxy
from serving.container.resources import check_clock, check_folder, check_memory, count_oom_kills
from serving.container.sink_process import run_sink
from serving.model_store import ROOT
from serving.torchserve import Addresses, TorchServe, TorchServeError, write_config

_SPARE_PORT = "8083"
_JVM_STOP_S = 1.5
# After SIGTERM in all; a container gets 10.
_STOP_S = 9.0
# After the end of a part: its platform waits to replace the container.
_CRASH_UPLOAD_S = 5.0
_REAP_INTERVAL_S = 1.0


def main() -> None:
    """Run until SIGTERM, or until a part ends; the last line of the log says why."""
    parser = argparse.ArgumentParser(description="Serve the model as PID 1 of a container (docs/container.md).")
    parser.add_argument("--config", type=Path, default=ROOT / "config.properties", help="TorchServe's")
    try:
        supervise(os.environ, parser.parse_args().config)
    except ContainerExit as reason:
        code, message = reason.code, str(reason)
    except TorchServeError as error:
        code, message = ExitCode.TORCHSERVE, str(error)
    except Exception:
        code, message = ExitCode.BUG, traceback.format_exc().strip()
    log("CRITICAL" if code else "NOTICE", message, exit_code=int(code))
    sys.exit(code)


def supervise(environment: Mapping[str, str], config: Path) -> NoReturn:
    """Serve until the container must end; raises the `ContainerExit`, also that of a stop by signal."""
    signal.signal(signal.SIGTERM, _stop_at_once)
    signal.signal(signal.SIGINT, _stop_at_once)
    settings = read_settings(environment)
    check_clock()
    check_memory()
    check_folder(settings.run_folder)
    archive = place_archive(settings)
    addresses = write_server_config(config, settings)
    health, registry = Health(), CollectorRegistry()
    requests = RequestMetrics(registry, settings.aip_predict_route)
    # The reverse proxy has an access log with more fields.
    for_server = {"TORCHSERVE_ACCESS_LOG": "off", "PREDICTION_LOG": str(settings.prediction_log or "")}
    upload = open_upload(settings, {**environment, **for_server})
    with (
        log_pipe("nginx", requests.record, *open_spans(settings)) as proxy_log,
        log_pipe("torchserve") as server_log,
        log_pipe("corrections") as sink_log,
        serve_health(health, settings.run_folder),
        serve_metrics(settings.metrics_port, registry, health, settings.run_folder),
        run_sink(settings, sink_log),
        Proxy(settings, addresses.inference, proxy_log) as proxy,
        TorchServe(settings.run_folder / "config.properties", ROOT, archive, server_log, for_server) as server,
    ):
        if upload is not None:
            upload.start()
        reason = _serve(proxy, server, health, settings)
        is_stop, end_s = reason.code == ExitCode.STOPPED, time.monotonic() + _STOP_S
        if is_stop:
            health.stop()
            log("NOTICE", "stopping: new connections are refused, accepted requests are answered")
            proxy.drain()
        # Without workers all files of the prediction log are finished; a container that is replaced loses its folder.
        server.stop(_JVM_STOP_S)
        if upload is not None:
            upload.finish(end_s - time.monotonic() if is_stop else _CRASH_UPLOAD_S)
    raise reason


def open_upload(settings: ContainerSettings, environment: Mapping[str, str]) -> LogUpload | None:
    """Return what moves the prediction log to LOG_URI, None without; raise `ContainerExit` for invalid settings."""
    try:
        log_settings = read_log_settings(environment)
        if log_settings is None or settings.log_uri is None:
            return None
        return LogUpload(log_settings.folder, open_storage(settings.log_uri))
    except (SettingsError, RegistryError) as error:
        raise ContainerExit(ExitCode.SETTING, str(error)) from error


def open_spans(settings: ContainerSettings) -> list[Callable[[Mapping[str, object]], None]]:
    """Return what sends the proxy's span of a line of the access log, none without OTEL_EXPORTER_OTLP_ENDPOINT."""
    if settings.otel_exporter_otlp_endpoint is None:
        return []
    try:
        # OpenTelemetry is in the image, but not in what `make serve` installs.
        from serving.container.traces import ProxySpans
    except ImportError as error:
        reason = f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is not installed; the extra `registry` has it"
        raise ContainerExit(ExitCode.SETTING, reason) from error
    return [ProxySpans().record]


def write_server_config(config: Path, settings: ContainerSettings) -> Addresses:
    """Write TorchServe's configuration, in which no listener has the reverse proxy's PORT; return its addresses."""
    listener = re.compile(rf"(.*:|){settings.port}")
    changes = {
        name: listener.sub(rf"\g<1>{_SPARE_PORT}", value)
        for name, value in load_properties(str(config)).items()
        if name.endswith(("_address", "_port")) and listener.fullmatch(value)
    }
    changes["model_store"] = str(settings.run_folder / STORE)
    return Addresses.read(write_config(config, changes, settings.run_folder / "config.properties"))


def reap_orphans(*children: int) -> None:
    """Reap ended processes that PID 1 inherited; *children* are our own, which are waited for elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in children:
            os.waitpid(dead.si_pid, os.WNOHANG)


def _stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    raise ContainerExit(ExitCode.STOPPED, f"stopped by signal {number} before it served")


def _serve(proxy: Proxy, server: TorchServe, health: Health, settings: ContainerSettings) -> ContainerExit:
    """Return why the container must end: a part has ended, or SIGTERM or SIGINT came."""
    # Numbers of signals, and why a part has ended.
    events: queue.SimpleQueue[int | ContainerExit] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: events.put(number))
    _report_end(events.put, "nginx", proxy.process.wait, ExitCode.PROXY)
    _report_end(events.put, "TorchServe", server.wait, ExitCode.TORCHSERVE)
    threading.Thread(target=watch_model, args=(server, settings, health, events.put), daemon=True).start()
    while True:
        try:
            event = events.get(timeout=_REAP_INTERVAL_S)
        except queue.Empty:
            reap_orphans(proxy.process.pid, server.process.pid)
            continue
        if isinstance(event, ContainerExit):
            return event
        if event != signal.SIGHUP:
            return ContainerExit(ExitCode.STOPPED, "stopped")
        proxy.reload()


def _report_end(report: Callable[[ContainerExit], None], name: str, wait: Callable[[], int], code: ExitCode) -> None:
    """Call *report* when the process that *wait* waits for has ended."""

    def watch() -> None:
        status = wait()
        killed = count_oom_kills()
        memory = f"; {killed} of its processes were killed for lack of memory, raise its limit" if killed else ""
        report(ContainerExit(code, f"{name} ended unexpectedly with code {status}{memory}; the log above says why"))

    threading.Thread(target=watch, name=f"end of {name}", daemon=True).start()


if __name__ == "__main__":
    main()
