"""The sink of corrections (monitoring/sink.py): a process of its own, where CORRECTIONS_URI is set."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from serving.container.container_settings import ContainerSettings
from serving.container.json_log import log
from serving.model_store import ROOT

SOCKET = "corrections.sock"

_RESTART_S = 5.0
_POLL_S = 0.5


@contextmanager
def run_sink(settings: ContainerSettings, output: int) -> Iterator[None]:
    """Run it while the block does, and start it again when it ends: serving goes on without it.

    *output* is the file descriptor for its log.
    """
    if settings.corrections_uri is None:
        yield
        return
    command = [sys.executable, "-m", "monitoring.sink", "--uri", settings.corrections_uri]
    command += ["--socket", str(settings.run_folder / SOCKET)]
    stop = Event()
    thread = Thread(target=_keep_running, args=(command, output, stop), name="sink of corrections", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _keep_running(command: list[str], output: int, stop: Event) -> None:
    while not stop.is_set():
        try:
            process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
        except OSError as error:
            log("ERROR", f"the sink of corrections cannot be started ({error.strerror}), it is tried again")
            stop.wait(_RESTART_S)
            continue
        while process.poll() is None and not stop.wait(_POLL_S):
            pass
        if not stop.is_set():
            log("ERROR", "the sink of corrections ended, it is started again; the log above says why")
            stop.wait(_RESTART_S)
        process.kill()
        process.wait()
