"""A Python that has imported what takes seconds, and forks for each program that `client.py` asks it to run.

Run as a file: server.py DESCRIPTOR of a listening socket; ends when its standard input does. It imports nothing of
ours: what a program imports comes from the folder that it is started in, as with any Python.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from typing import Any

# Neither OpenVINO nor NNCF: their telemetry starts a thread, which a fork would not have.
PRELOADED = (
    "google.cloud.storage",
    "hydra",
    "lightning",
    "matplotlib.figure",
    "model_signing",
    "optuna",
    "safetensors.torch",
    "sklearn.linear_model",
    "sklearn.metrics",
    "timm",
    "torch.export",
    "torchvision.transforms.v2",
    "webdataset",
)
POLL_S = 0.02


def main() -> None:
    """Serve until standard input ends; in a forked process, run the program that was asked for."""
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        for module in PRELOADED:
            importlib.import_module(module)
        if threading.active_count() > 1:
            sys.exit(f"an import has started threads, which a fork does not have: {threading.enumerate()}")
        # Collecting what was imported would copy all of it into each fork, and take two seconds when it ends.
        gc.freeze()
        request = accept_requests(listener)
    if request:
        run_program(request)


def accept_requests(listener: socket.socket) -> dict[str, Any] | None:
    """Return None when standard input ends, and in a forked process the request that it is to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in ready:
            return None
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return handle_request(connection)


def handle_request(connection: socket.socket) -> dict[str, Any]:
    """Return the request in a new process; the one that was called waits for it and answers with its exit status."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as stream:
        request: dict[str, Any] = json.loads(stream.readline())
    process = os.fork()
    if process == 0:
        os.setpgid(0, 0)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        return request
    connection.sendall(f"{process}\n".encode())
    connection.sendall(f"{wait_for(process, connection)}\n".encode())
    os._exit(0)


def wait_for(process: int, connection: socket.socket) -> int:
    """Return the exit code, negative for a signal, as `subprocess` does; kill the process when the client has gone."""
    while True:
        finished, status = os.waitpid(process, os.WNOHANG)
        if finished:
            return os.waitstatus_to_exitcode(status)
        if select.select([connection], [], [], POLL_S)[0]:
            os.killpg(process, signal.SIGKILL)
            os._exit(0)


def run_program(request: dict[str, Any]) -> None:
    """Do what `python -m MODULE ARGUMENT…` does in the request's folder and environment."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    # What the program starts by `sys.executable` is warm, too.
    sys.executable = request["executable"]
    search_path = request["environment"].get("PYTHONPATH", "")
    sys.path[:1] = [request["folder"], *filter(None, search_path.split(os.pathsep))]
    sys.argv = ["-m", *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
