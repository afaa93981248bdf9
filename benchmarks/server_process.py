"""A server's processes: started, asked until the first right answer, measured, and stopped to the last one."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import ask_once
from benchmarks.measurement import BenchError
from serving import torchserve

# A variable in the environment of a server, which children inherit: some servers hand their workers over to a daemon.
_MARK = "FRUITY_BENCHMARK"
_POLL_S = 0.02


class ServerError(BenchError):
    """The server ended, or gave no right answer in time."""


@contextmanager
def run_server(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator["ServerProcess"]:
    """Run *command* in *folder*, with *environment* added to ours; no process of it is left after the block."""
    mark = uuid.uuid4().hex
    with (
        tempfile.TemporaryDirectory(prefix="fruity-bench-", ignore_cleanup_errors=True) as temp,
        Path(temp, "server.log").open("wb") as log,
    ):
        # TEMP becomes Java's temp folder; some peers would leave settings and tokens in the user's home.
        own = {**os.environ, **environment, **dict.fromkeys(("TMPDIR", "TEMP", "HOME"), temp), _MARK: mark}
        started_s = time.perf_counter()
        try:
            # In a session of its own: Ctrl-C reaches the benchmark alone, which then stops all of it.
            process = subprocess.Popen(
                command, cwd=folder, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise ServerError(f"{command[0]} cannot be started: {error.strerror}") from error
        server = ServerProcess(process, mark, Path(log.name), started_s)
        try:
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class ServerProcess:
    """The process that was started, with all others that carry its mark."""

    process: "subprocess.Popen[bytes]"
    mark: str
    log: Path
    started_s: float

    def wait_for_answer(self, endpoint: Endpoint, photo: Photo, timeout_s: float) -> float:
        """Return the seconds from the start to the first right answer; raise `ServerError`."""
        while error := ask_once(endpoint, photo):
            if (code := self.process.poll()) is not None:
                raise self._error(f"it ended with code {code} before it answered")
            if time.perf_counter() - self.started_s > timeout_s:
                raise self._error(f"no right answer after {timeout_s:.0f} s, the last error was {error}")
            time.sleep(_POLL_S)
        return time.perf_counter() - self.started_s

    def wait_for_end(self, timeout_s: float) -> None:
        """Wait for a process that ends by itself; raise `ServerError` unless it ends in time and with 0."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise self._error(f"it still runs after {timeout_s:.0f} s") from error
        if code != 0:
            raise self._error(f"it ended with code {code}")

    def processes(self) -> list[psutil.Process]:
        return self._each(lambda process: process)

    def cpu_s(self) -> float:
        """Return the CPU seconds that all living processes of the server have used."""
        return float(sum(times.user + times.system for times in self._each(psutil.Process.cpu_times)))

    def pss_mb(self) -> float:
        """Return the memory of all processes in MB, shared pages counted once (proportional set size)."""
        return float(sum(memory.pss for memory in self._each(psutil.Process.memory_full_info))) / 1e6

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Return whether all processes together used less than 5 ms of CPU in 100 ms, before *timeout_s* were over."""
        end_s = time.perf_counter() + timeout_s
        before_s = self.cpu_s()
        while time.perf_counter() < end_s:
            time.sleep(0.1)
            now_s = self.cpu_s()
            # Less than the 10 ms in which the kernel counts CPU time.
            if now_s - before_s < 0.005:
                return True
            before_s = now_s
        return False

    def stop(self) -> None:
        """Send SIGTERM to all processes; kill those that have not ended after 5 s, and those started meanwhile."""
        try:
            self.signal_all(signal.SIGTERM)
        finally:
            num_empty = 0
            # A process has no environment for a moment while it is started, so one scan may miss it.
            while num_empty < 5:
                num_empty = 0 if self.signal_all(signal.SIGKILL) else num_empty + 1
                time.sleep(_POLL_S)
            self.process.wait()

    def signal_all(self, number: signal.Signals) -> int:
        """Send the signal to all processes, wait for their end, and return how many there were."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        psutil.wait_procs(processes, timeout=5)
        return len(processes)

    def _each(self, act: Callable[[psutil.Process], Any]) -> list[Any]:
        """Return what *act* gives for each living process of the server."""
        results = []
        for process in psutil.process_iter():
            # A process may have ended meanwhile, be a zombie, or belong to another user.
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(_MARK) == self.mark:
                    results.append(act(process))
        return results

    def _error(self, what: str) -> ServerError:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return ServerError(f"{what}; its log ends with: {' | '.join(lines[-8:])[-600:]}")


def write_server_config(template: Path, folder: Path, changes: Mapping[str, str]) -> Path:
    """Write the config.properties *template* with *changes* and free ports into *folder*; return its path."""
    ports = iter(free_ports(5))
    free = {f"{name}_address": f"http://127.0.0.1:{next(ports)}" for name in ("inference", "management", "metrics")}
    free |= {f"grpc_{name}_port": str(next(ports)) for name in ("inference", "management")}
    return torchserve.write_config(template, {**free, **changes}, folder / "config.properties")


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let this process and those that it starts run on the first *count* cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_ports(count: int) -> list[int]:
    """Return *count* ports of the loopback interface that are not in use."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
