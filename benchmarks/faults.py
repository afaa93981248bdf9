"""The faults of `make chaos`: what is done to a running container, and what ends it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil

from benchmarks.container_load import Container
from benchmarks.version_swaps import copy_next
from serving.container.process_metrics import kind_of
from serving.model_store import ROOT

_VERB_S = 120.0
_RUN_MB = 160
_BALLAST = "ballast"
_HANG = "hang"
_CLOCK = "clock"
# The handler as it is, but the first inference after the file has appeared never ends.
_INFERENCE = b"            outputs = self._engine.run("
_HANGING = """            with contextlib.suppress(FileNotFoundError):
                os.unlink({flag!r})
                time.sleep(3600)
"""


@dataclass(frozen=True)
class Fault:
    name: str
    inject: Callable[[Container], str | None]
    """Returns what a command said, if the fault is one."""
    lift: Callable[[Container], None] | None = None
    """None: it happens once, and nothing is lifted."""
    prepare: Callable[[Container], None] | None = None
    prefix: Sequence[str] = ()


def list_faults() -> list[Fault]:
    return [
        Fault("kill -9 of a worker", _send(signal.SIGKILL, "worker", 1)),
        Fault("kill -9 of all workers (as the kernel does for lack of memory)", _send(signal.SIGKILL, "worker")),
        Fault("kill -9 of the JVM", _send(signal.SIGKILL, "java")),
        Fault("kill -9 of nginx", _send(signal.SIGKILL, "nginx", 1)),
        *(
            Fault(f"SIGSTOP of {name}", _send(signal.SIGSTOP, kind, count), _send(signal.SIGCONT, kind))
            for name, kind, count in (("a worker", "worker", 1), ("the JVM", "java", 1), ("nginx", "nginx", 0))
        ),
        Fault("SIGSTOP of the JVM, for good", _send(signal.SIGSTOP, "java", 1)),
        Fault("the model hangs in inference", _hang, prepare=_serve_a_model_that_can_hang),
        *(
            Fault(f"the clock jumps an hour {way}", _set_clock(offset), prefix=_own_clock(library))
            for library in _find_faketime()
            for way, offset in (("ahead", "+1h"), ("back", "-1h"))
        ),
        Fault("disk full", _fill_disk, _empty_disk, prefix=_own_disk()),
        Fault("no more file descriptors", _limit_files, _unlimit_files),
        Fault("no more memory for workers", _limit_memory, _unlimit_memory),
        Fault("rollout from a registry that is away", _roll_out_from_nowhere),
        Fault("scale WORKERS=500", _scale),
    ]


def processes_of(container: Container, kind: str) -> list[psutil.Process]:
    """Return the container's processes of *kind*, as the metrics call it, parents first."""
    supervisor = psutil.Process(container.server.process.pid)
    return [process for process in supervisor.children(recursive=True) if kind_of(process, supervisor) == kind]


def _send(number: signal.Signals, kind: str, count: int = 0) -> Callable[[Container], None]:
    """Return what sends a signal to the first *count* processes of *kind*, 0 for all."""

    def send(container: Container) -> None:
        for process in processes_of(container, kind)[: count or None]:
            process.send_signal(number)

    return send


def _serve_a_model_that_can_hang(container: Container) -> None:
    store, code = container.run_folder / "model_store", _HANGING.format(flag=str(container.run_folder / _HANG)).encode()
    edits = {"fruity_handler.py": lambda source: b"import contextlib\n" + source.replace(_INFERENCE, code + _INFERENCE)}
    version, hanging = copy_next(container.management.describe(), store, store, edits)
    container.management.register(hanging.name)
    container.management.promote(version)


def _hang(container: Container) -> None:
    (container.run_folder / _HANG).touch()


def _own_disk() -> list[str]:
    """Return what mounts a small disk of its own at RUN_FOLDER, with or without root, and runs the rest."""
    rights = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    script = f'mount -t tmpfs -o size={_RUN_MB}m tmpfs "$RUN_FOLDER" && export PREDICTION_LOG="$RUN_FOLDER/predictions"'
    return ["unshare", *rights, "--mount", "sh", "-c", f'{script} && exec "$@"', "sh"]


def _find_faketime() -> list[Path]:
    """Return the library that sets a program's clock, if libfaketime of PyPI is installed; it compiles it."""
    found = find_spec("libfaketime")
    return [] if found is None or found.origin is None else sorted(Path(found.origin).parent.rglob("libfaketime.so.1"))


def _own_clock(library: Path) -> list[str]:
    """Return what gives the rest a clock of its own, which a file in RUN_FOLDER sets; monotonic clocks stay."""
    variables = "FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    script = f'echo +0 > "$RUN_FOLDER/{_CLOCK}" && export FAKETIME_TIMESTAMP_FILE="$RUN_FOLDER/{_CLOCK}" {variables}'
    return ["sh", "-c", f'{script} && LD_PRELOAD="{library}" exec "$@"', "sh"]


def _set_clock(offset: str) -> Callable[[Container], None]:
    def set_clock(container: Container) -> None:
        (container.run_folder / _CLOCK).write_text(offset)

    return set_clock


def _fill_disk(container: Container) -> None:
    with (container.run_folder / _BALLAST).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _empty_disk(container: Container) -> None:
    (container.run_folder / _BALLAST).unlink()


def _limit_files(container: Container) -> None:
    """Lower the limit of every process to what it uses."""
    for process in container.server.processes():
        process.rlimit(resource.RLIMIT_NOFILE, (process.num_fds(), process.rlimit(resource.RLIMIT_NOFILE)[1]))


def _unlimit_files(container: Container) -> None:
    for process in container.server.processes():
        _, most = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (most, most))


def _limit_memory(container: Container) -> None:
    for process in processes_of(container, "worker"):
        process.rlimit(resource.RLIMIT_AS, (process.memory_info().vms, resource.RLIM_INFINITY))


def _unlimit_memory(container: Container) -> None:
    for process in processes_of(container, "worker"):
        process.rlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _roll_out_from_nowhere(container: Container) -> str:
    return _run_verb(container, "rollout", "9.9.9", "--registry", str(container.run_folder / "absent"))


def _scale(container: Container) -> str:
    version = container.management.describe().model_version
    return _run_verb(container, "versions", "scale", version, "500")


def _run_verb(container: Container, script: str, *arguments: str) -> str:
    """Return the exit code of a command for operators, and its last line, with RUN_FOLDER for the folder's name."""
    config = container.run_folder / "config.properties"
    command = [sys.executable, "-m", f"scripts.{script}", *arguments, "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=_VERB_S)
    said = (done.stderr.strip() or done.stdout.strip()).splitlines() or [""]
    return f"exit code {done.returncode}: {said[-1].replace(str(container.run_folder), 'RUN_FOLDER')}"
