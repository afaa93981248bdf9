"""The workers' lines in TorchServe's log: each traceback becomes one record, and the last one can be read from a file.

TorchServe logs what a worker prints line by line, as INFO (log4j2.xml); lines of several workers may mix.
"""

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

FAILURE_FILE = "worker_failure.json"
"""In the model store."""
PAUSE_S = 0.5
"""A worker prints a traceback without such a pause in it."""

# What handler/hang_limit.py lets a worker print before it ends.
_HANGS = re.compile(r"Timeout \([\d:.]+\)!")
# What TorchServe's worker logs with a traceback.
_STARTS = re.compile(
    r"Traceback \(most recent call last\)|Failed to load model|Load model .* OOM|Backend worker process died"
    r"|Invoking custom service failed|Prediction error|System out of memory|CUDA out of memory"
    rf"|{_HANGS.pattern}"
)
_ENDED = "Backend worker process died"
_VERSION = re.compile(r"W-\d+-fruity_(.+)-std(?:out|err)")
# A line of the container's log has at most 64 KiB.
_MAX_CHARACTERS = 32 * 1024


class Failure(msgspec.Struct, frozen=True):
    """A worker's traceback."""

    time: str  # ISO 8601
    version: str
    reason: str  # the error at its end
    traceback: str


@dataclass
class _Open:
    """A traceback whose lines still come in."""

    record: dict[str, str]
    lines: list[str] = field(default_factory=list)
    size: int = 0
    changed_s: float = 0.0


class WorkerLog:
    """Passes the lines of a log on, those of a traceback as one record of severity ERROR."""

    def __init__(
        self, write: Callable[[bytes], None], store: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """*write* gets each line; the last failure is kept in the folder *store*, if that can be written."""
        self.failure: Failure | None = None
        self._write, self._path, self._clock = write, store / FAILURE_FILE, clock
        self._open: dict[str, _Open] = {}
        # An empty file tells readers that a failure will be written.
        with contextlib.suppress(OSError):
            self._path.write_bytes(b"")

    @property
    def timeout_s(self) -> float | None:
        """How long to wait for the next line before `flush`, None without end."""
        return PAUSE_S if self._open else None

    def add(self, line: bytes) -> None:
        """Pass *line* on, or keep it until its traceback has ended."""
        self.flush(PAUSE_S)
        record = _read_record(line)
        if record is None:
            self._write(line)
            return
        worker, message = record["worker"], record["message"].rstrip()
        if worker not in self._open:
            if not _STARTS.match(message):
                self._write(line)
                return
            self._open[worker] = _Open(record)
        traceback = self._open[worker]
        traceback.lines.append(message)
        traceback.size += len(message)
        traceback.changed_s = self._clock()
        if traceback.size > _MAX_CHARACTERS:
            self._close(worker)

    def flush(self, pause_s: float = 0.0) -> None:
        """Pass on the tracebacks to which no line was added for *pause_s*."""
        for worker in [one for one, open_ in self._open.items() if self._clock() - open_.changed_s >= pause_s]:
            self._close(worker)

    def _close(self, worker: str) -> None:
        traceback = self._open.pop(worker)
        text = "\n".join(traceback.lines)
        record = {**traceback.record, "severity": "ERROR", "message": text}
        self._write(msgspec.json.encode(record) + b"\n")
        named = _VERSION.fullmatch(worker)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.failure = Failure(now, named[1] if named else "", find_reason(traceback.lines), text)
        partial = self._path.with_suffix(".partial")
        with contextlib.suppress(OSError):
            partial.write_bytes(msgspec.json.encode(self.failure))
            partial.replace(self._path)


def read_failure(store: Path, version: str, since: datetime, timeout_s: float = 5 * PAUSE_S) -> Failure | None:
    """Return the failure of *version* that a server has written into *store* since then; wait for it *timeout_s*."""
    path = store / FAILURE_FILE
    deadline = time.monotonic() + timeout_s
    while path.exists():
        with contextlib.suppress(OSError, msgspec.DecodeError, ValueError):
            failure = msgspec.json.decode(path.read_bytes(), type=Failure)
            if failure.version == version and datetime.fromisoformat(failure.time) >= since:
                return failure
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE_S / 4)
    return None


def find_reason(lines: list[str]) -> str:
    """Return the error at the end of the traceback in *lines*, without what the worker says when it ends because of it.

    An error follows an indented line; it may have several lines. A worker that hangs says so in the first line.
    """
    if _HANGS.match(lines[0]):
        return f"{lines[0]} The model hangs"
    ends = [number for number, line in enumerate(lines) if number and line.startswith(_ENDED)]
    own = lines[: ends[0]] if ends else lines
    starts = [number for number in range(1, len(own)) if own[number - 1][:1] == " " and own[number][:1].strip()]
    return " ".join(own[starts[-1] :] if starts else own[-1:])


def _read_record(line: bytes) -> dict[str, str] | None:
    """Return the fields of a record of a worker, None if *line* is another one."""
    if b'"worker":' not in line:
        return None
    try:
        return msgspec.json.decode(line, type=dict[str, str])
    except msgspec.DecodeError:
        return None
