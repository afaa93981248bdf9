"""What the container has to stand on: a place to write, memory, a clock. Each raises `Ending` with its code."""

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from serving.container.exits import Ending, Exit

MIN_FREE_BYTES = 64 * 1024 * 1024
"""The archive twice, once packed and once unpacked, and requests too large for nginx's memory."""
MIN_MEMORY_BYTES = 640 * 1024 * 1024
"""PSS of all processes with the default archive and 2 workers, and a fifth to breathe."""

_CGROUP = Path("/sys/fs/cgroup")
_DAY_S = 86_400


def check_folder(folder: Path) -> None:
    """Create *folder*, for nobody else to read, or see that it can be written and has space."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise Ending(
            Exit.SPACE, f"{folder} cannot be written to ({error.strerror}); mount a tmpfs or a volume there"
        ) from error
    if free_bytes < MIN_FREE_BYTES:
        raise Ending(
            Exit.SPACE,
            f"{folder} has {free_bytes / 1e6:.0f} MB free, {MIN_FREE_BYTES / 1e6:.0f} MB are needed; "
            "give its tmpfs or volume more",
        )


def check_memory(cgroup: Path = _CGROUP) -> None:
    """Read the limit of this container's cgroup, of version 2 or 1; none is fine."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = (cgroup / name).read_text().strip()
        except OSError:
            continue
        if limit != "max" and int(limit) < MIN_MEMORY_BYTES:
            raise Ending(
                Exit.MEMORY,
                f"the container may use {int(limit) / 1e6:.0f} MB of memory, the model needs "
                f"{MIN_MEMORY_BYTES / 1e6:.0f} MB; give it 1 GB",
            )
        return


def check_clock(now_s: float | None = None, program: Path = Path(__file__)) -> None:
    """Refuse a clock from before *program* was written: every certificate would look wrong by it."""
    now_s = time.time() if now_s is None else now_s
    if now_s < program.stat().st_mtime - _DAY_S:
        raise Ending(
            Exit.CLOCK,
            f"the clock says {datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}, which is before this image was made; "
            "set the machine's clock",
        )


def count_oom_kills(cgroup: Path = _CGROUP) -> int:
    """Return how many processes of this container the kernel killed for want of memory, as far as it says so."""
    try:
        lines = (cgroup / "memory.events").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
