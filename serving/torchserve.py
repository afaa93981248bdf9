"""One TorchServe process: started in a temp folder of its own, watched, stopped."""

import contextlib
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self, cast
from urllib.parse import urlsplit

import httpx
from ts.model_server import load_properties

from model_archive.golden import read_golden
from model_archive.identity import MODEL as MODEL
from serving.java import MIN_JAVA, java_version
from serving.management import Addresses as Addresses
from serving.management import Management
from serving.readiness import NotReady, NotRegistered, check_ready
from serving.worker_log import PAUSE_S, WorkerLog

_POLL_S = 0.05
_STOP_S = 10
_CHUNK_BYTES = 64 * 1024
# What TorchServe prints to the console at every start; no setting of its silences them, and none needs an action.
_NOTICES = (
    b"Warning: TorchServe is using non-default JVM parameters",
    b"WARNING: sun.reflect.Reflection.getCallerClass is not supported.",
    b"nvidia-smi not available or failed",
    b"Model server started.",
)


class TorchServeError(Exception):
    """TorchServe cannot start, or died."""


class TorchServe:
    """A context manager: TorchServe runs inside, and is gone after, with its workers and temporary files."""

    def __init__(
        self, config: Path, root: Path, archive: Path, output: int = 1, environment: Mapping[str, str] | None = None
    ) -> None:
        """*config* is read relative to the folder *root*; *archive* is what it loads.

        Its log goes to the file descriptor *output*, by default stdout. *environment* is added to ours.
        """
        self.addresses = Addresses.read(config)
        self._config, self._root, self._archive = config, root, archive
        self._output, self._added = output, environment or {}

    def __enter__(self) -> Self:
        """Start the process; raises `TorchServeError` if it cannot work."""
        _check_java()
        check_ports_free(self._config)
        self._temp = Path(tempfile.mkdtemp(prefix="fruity-"))
        store = self._root / load_properties(str(self._config)).get("model_store", self._temp)
        self._log = WorkerLog(self._write, store)
        torchserve = str(Path(sys.executable).with_name("torchserve"))
        # The launcher, whose child is the Java process.
        self.process = subprocess.Popen(
            # Snapshots would be written to logs/ at each start and never be read.
            [torchserve, "--start", "--foreground", "--no-config-snapshots", "--ts-config", str(self._config)],
            cwd=self._root,
            env={**_environment(self._temp), **self._added},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches only us, and we stop the server in order.
            start_new_session=True,
        )
        pipe = cast(IO[bytes], self.process.stdout)
        self._relay = threading.Thread(target=_relay, args=(pipe, self._log), daemon=True)
        self._relay.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self, timeout_s: float) -> str:
        """Return the version that answers; raise `TorchServeError` if the process dies or time runs out."""
        golden = read_golden(self._archive)
        deadline = time.monotonic() + timeout_s
        with (
            httpx.Client(base_url=self.addresses.inference, timeout=timeout_s) as inference,
            httpx.Client(base_url=self.addresses.management, timeout=timeout_s) as management,
        ):
            while True:
                try:
                    return check_ready(inference, Management(management), lambda _: golden).model_version
                except NotRegistered as reason:
                    raise TorchServeError(f"{reason}{self._describe_failure()}; its log says why") from reason
                except NotReady as reason:
                    said = f"TorchServe does not answer after {timeout_s:.0f} s: {reason}"
                    if (code := self.process.poll()) is not None:
                        said = f"TorchServe ended with code {code} before it answered"
                    if code is not None or time.monotonic() > deadline:
                        raise TorchServeError(f"{said}{self._describe_failure()}; its log says why") from reason
                time.sleep(_POLL_S)

    def _write(self, line: bytes) -> None:
        # A log that cannot be written is still read: TorchServe would block on a full pipe.
        with contextlib.suppress(OSError):
            os.write(self._output, line)

    def _describe_failure(self) -> str:
        """Return why a worker has ended last, for the end of a sentence."""
        # Its traceback is complete after a pause.
        time.sleep(2 * PAUSE_S)
        return f" (a worker ended with {self._log.failure.reason})" if self._log.failure else ""

    def wait(self) -> int:
        return self.process.wait()

    def stop(self, timeout_s: float | None = None) -> None:
        """Stop the Java process, which stops its workers; kill what is left after *timeout_s*, by default 10."""
        try:
            # Early in a start the file is missing or empty. Java may have ended by itself.
            with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
                if self.process.poll() is None:
                    os.kill(int((self._temp / ".model_server.pid").read_text()), signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S if timeout_s is None else timeout_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            # What was printed last is in the pipe.
            self._relay.join(timeout=1)
            shutil.rmtree(self._temp, ignore_errors=True)


def write_config(config: Path, changes: Mapping[str, str], target: Path) -> Path:
    """Write the configuration *config* with other values for the keys of *changes* to *target*; return that."""
    left = dict(changes)
    lines = []
    for line in config.read_text().splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}={left.pop(name)}" if name in left else line)
    if left:
        raise TorchServeError(f"{config} has no line for {', '.join(left)}; add one")
    target.write_text("\n".join(lines) + "\n")
    return target


def _relay(pipe: IO[bytes], log: WorkerLog) -> None:
    """Copy the lines of *pipe* to *log*, without the notices."""
    with pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        rest = b""
        while True:
            if not selector.select(log.timeout_s):
                log.flush(PAUSE_S)
            elif chunk := os.read(pipe.fileno(), _CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if not line.startswith(_NOTICES):
                        log.add(line + b"\n")
            else:
                break
        if rest:
            log.add(rest + b"\n")
        log.flush()


def _environment(temp: Path) -> dict[str, str]:
    """Return the environment for TorchServe: the venv's own programs first, its own temp folder, no PYTHONPATH."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    # TMPDIR holds the pid file, TEMP becomes Java's temp folder with the unpacked archives.
    return {**environment, "PATH": path, "TMPDIR": str(temp), "TEMP": str(temp)}


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = Path(home, "bin", "java") if home else shutil.which("java", path=_environment(Path())["PATH"])
    if java_version(java) < MIN_JAVA:
        raise TorchServeError(f"no Java {MIN_JAVA} or newer found; run make setup, which links the one of the venv")


def check_ports_free(config: Path) -> None:
    """Raise `TorchServeError` if a port that *config* names is taken."""
    properties = load_properties(str(config))
    http = [urlsplit(address) for address in vars(Addresses.read(config)).values()]
    grpc = [int(port) for name, port in properties.items() if re.fullmatch("grpc_.*_port", name)]
    for host, port in [*((parts.hostname, parts.port) for parts in http), *(("127.0.0.1", port) for port in grpc)]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise TorchServeError(
                    f"port {port} is taken ({error.strerror}); stop what uses it, or change it in config.properties"
                ) from error
