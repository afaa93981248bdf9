"""The container's log: JSON lines on stdout with the severities of Cloud Logging, also for what children print."""

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

_MAX_LINE_BYTES = 64 * 1024
# nginx: `2026/11/23 12:00:00 [error] 7#7: *1 message`.
_NGINX = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] \d+#\d+: (?:\*\d+ )?(.*)", re.DOTALL)
_SEVERITIES = {
    "debug": "DEBUG",
    "info": "INFO",
    "notice": "NOTICE",
    "warn": "WARNING",
    "error": "ERROR",
    "crit": "CRITICAL",
    "alert": "ALERT",
    "emerg": "EMERGENCY",
}


def log(severity: str, message: str, **fields: object) -> None:
    """Write one line; a log that nobody takes any more is no reason to stop serving."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    _write({"time": time, "severity": severity, "message": message, **fields})


class Relay:
    """A pipe for a child's stdout and stderr: JSON lines pass as they are, others become JSON."""

    def __init__(self, name: str) -> None:
        self._name = name
        reading, self.output = os.pipe()
        self._lines = os.fdopen(reading, "rb")
        self._thread = threading.Thread(target=self._run, name=f"log of {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Pass on what is left; a grandchild that keeps the pipe open is not waited for."""
        os.close(self.output)
        self._thread.join(timeout=1)

    def _run(self) -> None:
        with self._lines:
            while line := self._lines.readline(_MAX_LINE_BYTES):
                if text := line.decode(errors="replace").strip():
                    _relay_line(self._name, text)


def _relay_line(name: str, text: str) -> None:
    with contextlib.suppress(ValueError):
        if isinstance(fields := json.loads(text), dict):
            _write(fields)
            return
    if match := _NGINX.fullmatch(text):
        log(_SEVERITIES.get(match[1], "DEFAULT"), match[2], logger=name)
    else:
        log("DEFAULT", text, logger=name)


def _write(fields: Mapping[str, object]) -> None:
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=str) + "\n"
    with contextlib.suppress(OSError):
        # One write, so that the lines of two threads do not mix.
        os.write(sys.__stdout__.fileno() if sys.__stdout__ else 1, line.encode(errors="replace"))
