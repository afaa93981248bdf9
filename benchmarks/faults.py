"""The faults of `make chaos`: what is done to a running container, and what ends it."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
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
    inject: Callable[[Container], str | None]  # returns what a command said, if the fault is one
    lift: Callable[[Container], None] | None = None  # None: it happens once, and nothing is lifted
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
            for name, kind, count in (("a worker", "worker", 1), ("the JVM", "java", 1), ("nginx", "nginx", None))
        ),
        Fault("SIGSTOP of the JVM, for good", _send(signal.SIGSTOP, "java", 1)),
        Fault(
            "the model hangs in inference",
            lambda container: (container.run_folder / _HANG).touch(),
            prepare=_serve_a_model_that_can_hang,
        ),
        *(
            Fault(f"the clock jumps an hour {way}", partial(_set_clock, offset), prefix=_own_clock(library))
            for library in _find_faketime()
            for way, offset in (("ahead", "+1h"), ("back", "-1h"))
        ),
        Fault(
            "disk full", _fill_disk, lambda container: (container.run_folder / _BALLAST).unlink(), prefix=_own_disk()
        ),
        Fault("no more file descriptors", *_limit(resource.RLIMIT_NOFILE, psutil.Process.num_fds)),
        Fault("no more memory for workers", *_limit(resource.RLIMIT_AS, lambda one: one.memory_info().vms, "worker")),
        Fault(
            "rollout from a registry that is away",
            lambda container: _run_verb(container, "rollout", "9.9.9", "--registry", f"{container.run_folder}/absent"),
        ),
        Fault("scale WORKERS=500", _scale),
    ]


def processes_of(container: Container, kind: str) -> list[psutil.Process]:
    """Return the container's processes of *kind*, as the metrics call it, parents first."""
    supervisor = psutil.Process(container.server.process.pid)
    return [process for process in supervisor.children(recursive=True) if kind_of(process, supervisor) == kind]


def _send(number: signal.Signals, kind: str, count: int | None = None) -> Callable[[Container], None]:
    """Return what sends a signal to the first *count* processes of *kind*, by default to all."""

    def send(container: Container) -> None:
        for process in processes_of(container, kind)[:count]:
            process.send_signal(number)

    return send


def _serve_a_model_that_can_hang(container: Container) -> None:
    store, code = container.run_folder / "model_store", _HANGING.format(flag=str(container.run_folder / _HANG)).encode()
    edits = {"fruity_handler.py": lambda source: b"import contextlib\n" + source.replace(_INFERENCE, code + _INFERENCE)}
    version, hanging = copy_next(container.management.describe(), store, store, edits)
    container.management.register(hanging.name)
    container.management.promote(version)


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


def _set_clock(offset: str, container: Container) -> None:
    (container.run_folder / _CLOCK).write_text(offset)


def _fill_disk(container: Container) -> None:
    with (container.run_folder / _BALLAST).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def _limit(
    number: int, used: Callable[[psutil.Process], int], kind: str = ""
) -> tuple[Callable[[Container], None], Callable[[Container], None]]:
    """Return what lowers a limit of the processes of *kind*, by default all, to what each uses, and what lifts it."""

    def set_limits(container: Container, *, lifted: bool) -> None:
        for process in processes_of(container, kind) if kind else container.server.processes():
            _, most = process.rlimit(number)
            process.rlimit(number, (most if lifted else used(process), most))

    return partial(set_limits, lifted=False), partial(set_limits, lifted=True)


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
