"""Small programs that stand in for real ones on PATH, and what those that are tested change in this process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_program(path: Path, script: str) -> Path:
    """Write *script* as an executable shell program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def write_java(path: Path, version: str) -> Path:
    """Write a `java` that gives itself out as *version*, on stderr as the real one."""
    return write_program(path, f"echo 'openjdk version \"{version}\" 2026-01-20' >&2")


@contextmanager
def kept_signals() -> Iterator[None]:
    """Put the signal handlers back after the block."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
