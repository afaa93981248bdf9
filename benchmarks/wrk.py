"""wrk as the closed loop's generator: a thread for each client, driven by wrk.lua."""

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import TIMEOUT_S
from benchmarks.wire import Photo, Target, encode_request

SCRIPT = Path(__file__).with_name("wrk.lua")


class WrkError(Exception):
    """wrk ended with an error."""


@dataclass(frozen=True)
class Measured:
    latencies_ms: list[float]
    seconds: float
    errors: dict[str, int]


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def run(target: Target, photos: Sequence[Photo], clients: int, seconds: int) -> Measured:
    """Let *clients* send *photos* in turn for *seconds*; raise `WrkError`."""
    with tempfile.TemporaryDirectory(prefix="fruity-wrk-") as scratch:
        _write_plan(Path(scratch), target, photos)
        # One connection a thread: wrk does not tell its script which connection an answer came from.
        options = [f"-t{clients}", f"-c{clients}", f"-d{seconds}s", f"--timeout={TIMEOUT_S:.0f}s", "-s", str(SCRIPT)]
        command = ["wrk", *options, target.url, "--", scratch, str(len(photos))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "fruity seconds" not in done.stdout:
        raise WrkError(f"wrk ended with code {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return parse_output(done.stdout)


def parse_output(output: str) -> Measured:
    """Return what wrk.lua printed, one value a line: `fruity <kind> <value> [<error>]`."""
    latencies_ms: list[float] = []
    errors: Counter[str] = Counter()
    seconds = 0.0
    for line in output.splitlines():
        match line.split(" ", 3):
            case ["fruity", "latency", value]:
                latencies_ms.append(float(value))
            case ["fruity", "seconds", value]:
                seconds = float(value)
            case ["fruity", "error", value, kind] if int(value):
                errors[kind] += int(value)
    return Measured(latencies_ms, seconds, dict(errors))


def _write_plan(folder: Path, target: Target, photos: Sequence[Photo]) -> None:
    """Write what wrk.lua reads: for each photo its request and its label, and all labels, as JSON may spell them."""
    for number, photo in enumerate(photos, start=1):
        (folder / f"{number}.request").write_bytes(encode_request(target, photo))
        (folder / f"{number}.label").write_text("\n".join(_spellings(photo.label)) if photo.label else "")
    (folder / "labels").write_text("\n".join(text for label in sorted(target.labels) for text in _spellings(label)))


def _spellings(label: str) -> list[str]:
    """Return *label* as it stands in JSON, with and without escapes for what is not ASCII; the first is unescaped."""
    return [json.dumps(label, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
