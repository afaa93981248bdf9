"""A process that was started, until it answers over HTTP."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx


def wait_until_ready(
    process: "subprocess.Popen[bytes]",
    url: str,
    log: Path,
    timeout_s: float,
    is_ready: Callable[[httpx.Response], bool] = lambda _: True,
) -> None:
    """Wait for an answer of *url* that *is_ready*; fail with *log* if *process* ends, or after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        try:
            if is_ready(httpx.get(url, timeout=timeout_s)):
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
