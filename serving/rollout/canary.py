"""A share of live traffic for a version that is not the default yet: a file tells the front (canary.js) of it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CANARY = "canary.json"

# A rollout that is killed leaves its file; the front heeds it that much longer than it was meant.
_GRACE_S = 5.0


def find_front(config: Path) -> Path | None:
    """Return the run folder of the front before the server with the config.properties *config*, None if there is none.

    In the container both write into one folder (RUN_FOLDER).
    """
    return config.parent if (config.parent / "nginx.pid").is_file() else None


@contextmanager
def send_share(folder: Path, version: str, share: float, seconds: float) -> Iterator[None]:
    """Let the front of *folder* send *share* of the requests that name no version to *version* inside the block.

    It ends by itself after *seconds*, and a little. Raises OSError if the folder cannot be written.
    """
    canary = folder / CANARY
    half = canary.with_suffix(".half")
    half.write_text(json.dumps({"version": version, "share": share, "until_s": time.time() + seconds + _GRACE_S}))
    half.replace(canary)
    try:
        yield
    finally:
        canary.unlink(missing_ok=True)
