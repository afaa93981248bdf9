"""PID 1 of the serving image: python -m serving.container.supervisor.

Starts TorchServe and the front, tells whether they answer, and ends both in order. Whatever ends the container says
why in one line and in its exit code (docs/container.md).
"""

import argparse
import contextlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ts.model_server import load_properties

from serving.container.exits import Ending, Exit
from serving.container.front import Front
from serving.container.health import Health
from serving.container.log import Relay, log
from serving.container.machine import check_clock, check_folder, check_memory, count_oom_kills
from serving.container.model import STORE, place_archive
from serving.container.pages import serve_pages
from serving.container.settings import Settings
from serving.container.watch import watch_model
from serving.model_store import ROOT
from serving.torchserve import Addresses, TorchServe, TorchServeError, write_config

_SPARE_PORT = 8083
_GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")
_JVM_STOP_S = 1.5
_TICK_S = 1.0

# What wakes the supervisor: the number of a signal, or why a part has ended.
Event = int | Ending


def main() -> None:
    """Run until SIGTERM, or until something ends the container."""
    parser = argparse.ArgumentParser(
        description="Serve the model behind nginx, as PID 1 of a container.",
        epilog="Everything else is set by the environment; docs/container.md has the table.",
    )
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config.properties", help="TorchServe's (default: %(default)s)"
    )
    config = parser.parse_args().config
    try:
        supervise(os.environ, config)
    except Ending as ending:
        log("CRITICAL" if ending.exit_code else "NOTICE", f"{ending}", exit_code=int(ending.exit_code))
        sys.exit(ending.exit_code)
    except Exception:
        log("CRITICAL", traceback.format_exc().strip(), exit_code=int(Exit.BUG))
        sys.exit(Exit.BUG)


def supervise(environment: Mapping[str, str], config: Path) -> NoReturn:
    """Serve, and raise the `Ending`, also that of a stop by signal."""
    signal.signal(signal.SIGTERM, _stop_at_once)
    signal.signal(signal.SIGINT, _stop_at_once)
    settings = Settings.read(environment)
    check_clock()
    check_memory()
    check_folder(settings.folder)
    archive = place_archive(settings)
    addresses = move_ports(config, settings)
    health = Health()
    # The front logs each request already, and more of it.
    os.environ["TORCHSERVE_ACCESS_LOG"] = "off"
    with (
        Relay("nginx") as front_log,
        Relay("torchserve") as server_log,
        serve_pages(health, settings.folder),
        Front(settings, addresses.inference, front_log.output) as front,
        _start(TorchServe(settings.folder / "config.properties", ROOT, archive, server_log.output)) as server,
    ):
        _serve(front, server, health, settings)
        health.stop()
        log("NOTICE", "stopping: new connections are refused, what was accepted is answered")
        front.drain()
        server.stop(_JVM_STOP_S)
    raise Ending(Exit.STOPPED, "stopped")


def move_ports(config: Path, settings: Settings) -> Addresses:
    """Write TorchServe's configuration for this container; return its addresses.

    Whichever of its listeners has PORT gives way to the front.
    """
    changes = {"model_store": str(settings.folder / STORE)}
    for name, address in vars(Addresses.read(config)).items():
        if address.endswith(f":{settings.port}"):
            changes[f"{name}_address"] = f"http://127.0.0.1:{_SPARE_PORT}"
    properties = load_properties(str(config))
    changes |= {name: str(_SPARE_PORT) for name in _GRPC_PORTS if properties.get(name) == str(settings.port)}
    return Addresses.read(write_config(config, changes, settings.folder / "config.properties"))


def reap_orphans(*ours: int) -> None:
    """Bury processes whose parents left them to PID 1; *ours* are waited for elsewhere."""
    with contextlib.suppress(ChildProcessError):
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in ours:
            os.waitpid(dead.si_pid, os.WNOHANG)


def _stop_at_once(number: int, frame: FrameType | None) -> NoReturn:
    raise Ending(Exit.STOPPED, f"stopped by signal {number} before it served")


@contextlib.contextmanager
def _start(server: TorchServe) -> Iterator[TorchServe]:
    try:
        with server:
            yield server
    except TorchServeError as reason:
        raise Ending(Exit.TORCHSERVE, f"{reason}") from reason


def _serve(front: Front, server: TorchServe, health: Health, settings: Settings) -> None:
    """Return when a signal says stop; raises the `Ending` of a part that ended."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: events.put(number))
    _put_end(events, "nginx", front.wait, Exit.FRONT)
    _put_end(events, "TorchServe", server.wait, Exit.TORCHSERVE)
    threading.Thread(target=watch_model, args=(server, settings, health, events.put), daemon=True).start()
    while True:
        try:
            event = events.get(timeout=_TICK_S)
        except queue.Empty:
            reap_orphans(front.pid, server.pid)
            continue
        if isinstance(event, Ending):
            raise event
        if event != signal.SIGHUP:
            return
        front.reload()


def _put_end(events: "queue.SimpleQueue[Event]", name: str, wait: Callable[[], int], exit_code: Exit) -> None:
    """Put an `Ending` into *events* when the process that *wait* waits for has ended."""

    def watch() -> None:
        code = wait()
        memory = "; the container ran out of memory, give it more" if count_oom_kills() else ""
        events.put(Ending(exit_code, f"{name} ended by itself with code {code}{memory}; the log above says more"))

    threading.Thread(target=watch, name=f"end of {name}", daemon=True).start()


if __name__ == "__main__":
    main()
