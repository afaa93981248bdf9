"""What the container needs of its machine: a writable folder, memory, a clock. Each check raises `ContainerExit`."""

import contextlib
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from serving.container.exit_codes import ContainerExit, ExitCode

# For the archive, packed and unpacked, and for request bodies that nginx buffers on disk.
_MIN_FREE_BYTES = 64 * 1024 * 1024
# PSS of all processes with the default archive and 2 workers, and a fifth more.
_MIN_MEMORY_BYTES = 640 * 1024 * 1024
_CGROUP = Path("/sys/fs/cgroup")


def check_folder(folder: Path) -> None:
    """Create *folder* with mode 0700 if it does not exist; check that it is writable and has free space."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_bytes(bytes(4096))
        probe.unlink()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        reason = f"{folder} is not writable ({error.strerror}); mount a tmpfs or a volume there"
        raise ContainerExit(ExitCode.SPACE, reason) from error
    if free_bytes < _MIN_FREE_BYTES:
        needed = f"{free_bytes / 1e6:.0f} MB free, {_MIN_FREE_BYTES / 1e6:.0f} MB are needed"
        raise ContainerExit(ExitCode.SPACE, f"{folder} has {needed}; enlarge its tmpfs or volume")


def check_memory(cgroup: Path = _CGROUP) -> None:
    """Check the memory limit of this container's cgroup, version 2 or 1; no limit is fine."""
    limit_bytes = _read_memory_limit(cgroup)
    if limit_bytes is not None and limit_bytes < _MIN_MEMORY_BYTES:
        needed = f"{limit_bytes / 1e6:.0f} MB, the model needs {_MIN_MEMORY_BYTES / 1e6:.0f} MB"
        raise ContainerExit(ExitCode.MEMORY, f"the container's memory limit is {needed}; set it to 1 GB")


def read_memory(cgroup: Path = _CGROUP) -> tuple[int, int]:
    """Return the bytes in use without the cache of files, and their limit: the cgroup's, else the machine's."""
    machine = psutil.virtual_memory()
    used = _read_first(cgroup / "memory.current", cgroup / "memory" / "memory.usage_in_bytes")
    if used is None:
        return machine.used, machine.total
    cached = _read_table(cgroup / "memory.stat", cgroup / "memory" / "memory.stat")
    # Version 1 has its own files' cache under the first name, and that of all below under the second.
    inactive = cached.get("total_inactive_file", cached.get("inactive_file", 0))
    return int(used) - inactive, min(_read_memory_limit(cgroup) or machine.total, machine.total)


def read_throttled_s(cgroup: Path = _CGROUP) -> float:
    """Return how long the processes of this container waited for their share of CPU; 0 if it is not known."""
    times = _read_table(cgroup / "cpu.stat", cgroup / "cpu" / "cpu.stat")
    # Microseconds in version 2, nanoseconds in version 1.
    return times.get("throttled_usec", 0) / 1e6 + times.get("throttled_time", 0) / 1e9


def _read_memory_limit(cgroup: Path) -> int | None:
    limit = _read_first(cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes")
    return None if limit in (None, "max") else int(limit)


def _read_first(*files: Path) -> str | None:
    """Return the text of the first of *files* that exists."""
    return next((file.read_text().strip() for file in files if file.exists()), None)


def _read_table(*files: Path) -> dict[str, int]:
    """Return the numbers in the first of *files* that exists, by name."""
    lines = (_read_first(*files) or "").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def check_clock(now_s: float | None = None, program: Path = Path(__file__)) -> None:
    """Refuse a clock that is a day before *program* was written: by it, certificates would not be valid yet."""
    now_s = time.time() if now_s is None else now_s
    if now_s < program.stat().st_mtime - 86_400:
        date = f"{datetime.fromtimestamp(now_s, UTC):%Y-%m-%d}"
        raise ContainerExit(ExitCode.CLOCK, f"the clock says {date}, before this image was built; set the clock")


def count_oom_kills(cgroup: Path = _CGROUP) -> int:
    """Return how many processes of this container the kernel killed for lack of memory; 0 if it is not known."""
    # Where no file can be opened any more, the end of a part is reported all the same.
    with contextlib.suppress(OSError):
        return _read_table(cgroup / "memory.events").get("oom_kill", 0)
    return 0
