"""The container's log: JSON lines on stdout with the severities of Cloud Logging, for child processes too."""

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

_MAX_LINE_BYTES = 64 * 1024
# nginx: `2026/11/23 12:00:00 [error] 7#7: *1 message`.
_NGINX = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: (?:\*\d+ )?(.*)", re.DOTALL)
# In what nginx quotes: a request line, an upstream, a referrer. A query may hold a key.
_QUERY = re.compile(r"\?[^\s\"]+")
_SEVERITIES = {"warn": "WARNING", "crit": "CRITICAL", "emerg": "EMERGENCY"}
_SEVERITIES |= {name.lower(): name for name in ("DEBUG", "INFO", "NOTICE", "ERROR", "ALERT")}


def log(severity: str, message: str, **fields: object) -> None:
    """Write one line; a closed stdout does not stop the server."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    _write({"time": time, "severity": severity, "message": message, **fields})


@contextlib.contextmanager
def log_pipe(name: str, *records: Callable[[Mapping[str, object]], None]) -> Iterator[int]:
    """Yield a file descriptor for a child's stdout and stderr: JSON lines pass unchanged, others become JSON.

    Each of *records* is called with the fields of each JSON line.
    """
    read_end, write_end = os.pipe()
    thread = threading.Thread(target=_copy, args=(read_end, name, records), name=f"log of {name}", daemon=True)
    thread.start()
    try:
        yield write_end
    finally:
        os.close(write_end)
        # Copies what is left; a grandchild may keep the pipe open.
        thread.join(timeout=1)


def _copy(read_end: int, name: str, records: Sequence[Callable[[Mapping[str, object]], None]]) -> None:
    with os.fdopen(read_end, "rb") as lines:
        while line := lines.readline(_MAX_LINE_BYTES):
            if not (text := line.decode(errors="replace").strip()):
                continue
            if (fields := _read_fields(text)) is None:
                _log_text(name, text)
                continue
            _write(fields)
            for record in records:
                try:
                    record(fields)
                # Without this thread, a full pipe would stop the child.
                except Exception as error:
                    log("ERROR", f"a line of the log was not counted: {error!r}")


def _read_fields(text: str) -> dict[str, object] | None:
    # A line may be nested more deeply than Python's stack.
    with contextlib.suppress(ValueError, RecursionError):
        if isinstance(fields := json.loads(text), dict):
            return fields
    return None


def _log_text(name: str, text: str) -> None:
    match = _NGINX.fullmatch(text)
    severity, message = (_SEVERITIES.get(match[1], "DEFAULT"), _QUERY.sub("", match[2])) if match else ("DEFAULT", text)
    log(severity, message, logger=name)


def _write(fields: Mapping[str, object]) -> None:
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str) + "\n"
    with contextlib.suppress(OSError):
        # One write per line, so that lines of two threads do not mix.
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, line.encode(errors="replace"))
