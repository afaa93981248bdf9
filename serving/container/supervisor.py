"""PID 1 of the serving image: python -m serving.container.supervisor.

Starts TorchServe and the reverse proxy, reports whether they answer, and ends both in order. The last line of the log
and the exit code say why the container ended (docs/container.md).
"""

import argparse
import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ts.model_server import load_properties

from serving.container.archive_placement import STORE, place_archive
from serving.container.container_settings import ContainerSettings, read_settings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.container.health import Health
from serving.container.health_pages import serve_pages
from serving.container.json_log import LogPipe, log
from serving.container.model_watch import watch_model
from serving.container.proxy import Proxy
from serving.container.resources import check_clock, check_folder, check_memory, count_oom_kills
from serving.model_store import ROOT
from serving.torchserve import Addresses, TorchServe, TorchServeError, write_config

_SPARE_PORT = 8083
_GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")
_JVM_STOP_S = 1.5
_REAP_INTERVAL_S = 1.0

# The number of a signal, or why a part has ended.
Event = int | ContainerExit


def main() -> None:
    """Run until SIGTERM, or until a part ends."""
    parser = argparse.ArgumentParser(
        description="Serve the model behind nginx, as PID 1 of a container.",
        epilog="The other settings are environment variables; docs/container.md has the table.",
    )
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config.properties", help="TorchServe's (default: %(default)s)"
    )
    config = parser.parse_args().config
    try:
        supervise(os.environ, config)
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
    health = Health()
    # The reverse proxy has an access log with more fields.
    os.environ["TORCHSERVE_ACCESS_LOG"] = "off"
    with (
        LogPipe("nginx") as proxy_log,
        LogPipe("torchserve") as server_log,
        serve_pages(health, settings.run_folder),
        Proxy(settings, addresses.inference, proxy_log.output) as proxy,
        TorchServe(settings.run_folder / "config.properties", ROOT, archive, server_log.output) as server,
    ):
        _serve(proxy, server, health, settings)
        health.stop()
        log("NOTICE", "stopping: new connections are refused, accepted requests are answered")
        proxy.drain()
        server.stop(_JVM_STOP_S)
    raise ContainerExit(ExitCode.STOPPED, "stopped")


def write_server_config(config: Path, settings: ContainerSettings) -> Addresses:
    """Write TorchServe's configuration for this container; return its addresses.

    A listener of TorchServe on PORT moves to another port: PORT is the reverse proxy's.
    """
    changes = {"model_store": str(settings.run_folder / STORE)}
    for name, address in vars(Addresses.read(config)).items():
        if address.endswith(f":{settings.port}"):
            changes[f"{name}_address"] = f"http://127.0.0.1:{_SPARE_PORT}"
    properties = load_properties(str(config))
    changes |= {name: str(_SPARE_PORT) for name in _GRPC_PORTS if properties.get(name) == str(settings.port)}
    return Addresses.read(write_config(config, changes, settings.run_folder / "config.properties"))


def reap_orphans(*children: int) -> None:
    """Reap ended processes that PID 1 inherited; *children* are our own, which are waited for elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in children:
            os.waitpid(dead.si_pid, os.WNOHANG)


def _stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    raise ContainerExit(ExitCode.STOPPED, f"stopped by signal {number} before it served")


def _serve(proxy: Proxy, server: TorchServe, health: Health, settings: ContainerSettings) -> None:
    """Return on SIGTERM or SIGINT; raise the `ContainerExit` of a part that ended."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: events.put(number))
    _report_end(events, "nginx", proxy.wait, ExitCode.PROXY)
    _report_end(events, "TorchServe", server.wait, ExitCode.TORCHSERVE)
    threading.Thread(target=watch_model, args=(server, settings, health, events.put), daemon=True).start()
    while True:
        try:
            event = events.get(timeout=_REAP_INTERVAL_S)
        except queue.Empty:
            reap_orphans(proxy.pid, server.pid)
            continue
        if isinstance(event, ContainerExit):
            raise event
        if event != signal.SIGHUP:
            return
        proxy.reload()


def _report_end(events: "queue.SimpleQueue[Event]", name: str, wait: Callable[[], int], code: ExitCode) -> None:
    """Put a `ContainerExit` into *events* when the process that *wait* waits for has ended."""

    def watch() -> None:
        status = wait()
        memory = "; the container ran out of memory, raise its limit" if count_oom_kills() else ""
        events.put(ContainerExit(code, f"{name} ended unexpectedly with code {status}{memory}; the log above says why"))

    threading.Thread(target=watch, name=f"end of {name}", daemon=True).start()


if __name__ == "__main__":
    main()
