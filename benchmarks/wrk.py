"""wrk as the closed loop's load generator: one thread for each client, driven by wrk.lua."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.endpoint import TIMEOUT_S, Endpoint, Photo, encode_photo


class WrkError(Exception):
    """wrk ended with an error."""


def is_installed() -> bool:
    return shutil.which("wrk") is not None


def run(endpoint: Endpoint, photos: Sequence[Photo], clients: int, seconds: int) -> dict[str, Any]:
    """Let *clients* send *photos* in turn; return what wrk.lua measured, as `Load` names it, or raise `WrkError`."""
    with tempfile.TemporaryDirectory(prefix="fruity-wrk-") as scratch:
        folder = Path(scratch)
        _write_photos(folder, endpoint, photos)
        # One connection a thread: wrk does not tell its script which connection an answer came from.
        options = [f"-t{clients}", f"-c{clients}", f"-d{seconds}s", f"--timeout={TIMEOUT_S:.0f}s"]
        script = str(Path(__file__).with_name("wrk.lua"))
        command = ["wrk", *options, "-s", script, endpoint.url, "--", scratch, str(len(photos))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return dict(json.loads((folder / "measured.json").read_bytes()))
        except FileNotFoundError as error:
            output = (done.stderr or done.stdout).strip()[-300:]
            raise WrkError(f"wrk ended with code {done.returncode}: {output}") from error


def _write_photos(folder: Path, endpoint: Endpoint, photos: Sequence[Photo]) -> None:
    """Write what wrk.lua reads: each photo's content type, body and label, and all labels as JSON may spell them."""
    for number, photo in enumerate(photos, start=1):
        message = encode_photo(endpoint, photo)
        (folder / f"{number}.body").write_bytes(message.body)
        (folder / f"{number}.type").write_text(message.content_type)
        (folder / f"{number}.label").write_text("\n".join(_spellings(photo.label)) if photo.label else "")
    (folder / "labels").write_text("\n".join(text for label in sorted(endpoint.labels) for text in _spellings(label)))


def _spellings(label: str) -> list[str]:
    """Return *label* as JSON writes it, with and without escapes for what is not ASCII."""
    return [json.dumps(label, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True)]
