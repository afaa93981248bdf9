"""A folder of log files with a size cap, which several workers write.

Each worker writes files of its own and holds a lock on the one that it writes: a file without a lock is finished, also
if its worker was killed.
"""

import contextlib
import errno
import fcntl
import os
import time
from datetime import UTC, datetime
from pathlib import Path

PHOTOS = "photos"
"""The folder for photos, in that of the log."""

# A file is finished after this time too, so that it can be moved while few photos come.
_MAX_AGE_S = 600.0
# Of the cap: the size of a file, and how much is written until the folder is checked again.
_FILE_SHARE = 0.05
# Of the cap, what a check leaves; the rest is for the other workers, until each of them checks.
_KEPT_SHARE = 0.7


class LogFolder:
    def __init__(self, folder: Path, max_bytes: int) -> None:
        """*max_bytes* is the size of all files of *folder*; the oldest are deleted."""
        self._folder, self._max_bytes = folder, max_bytes
        self._file: int | None = None
        self._path = folder
        self._started_s = 0.0
        self._size = 0
        self._unchecked_bytes = max_bytes

    def append(self, lines: bytes) -> None:
        """Write *lines* whole or not at all; raise `OSError`."""
        file = self._file
        if file is None or self._is_over(file, len(lines)):
            file = self._open_next()
        self._count(len(lines))
        if os.write(file, lines) < len(lines):
            # A full disk takes a part.
            os.ftruncate(file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(lines)

    def keep_photo(self, name: str, content: bytes) -> None:
        """Write a photo unless it is there; raise `OSError`."""
        path = self._folder / PHOTOS / name
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._count(len(content))
        partial = path.with_name(f".{name}.{os.getpid()}")
        try:
            partial.write_bytes(content)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Finish the file that is being written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _is_over(self, file: int, num_bytes: int) -> bool:
        age_s = time.monotonic() - self._started_s
        # Somebody may have deleted the file.
        is_gone = os.fstat(file).st_nlink == 0
        return is_gone or age_s > _MAX_AGE_S or self._size + num_bytes > self._max_bytes * _FILE_SHARE

    def _open_next(self) -> int:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        path = self._folder / f"{now}-{os.getpid()}.jsonl"
        # Locked before it has its name, so that it never seems to be finished.
        partial = path.with_name(f".{path.name}")
        file = os.open(partial, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.rename(path)
        except OSError:
            os.close(file)
            partial.unlink(missing_ok=True)
            raise
        self._file, self._path, self._size, self._started_s = file, path, 0, time.monotonic()
        return file

    def _count(self, num_bytes: int) -> None:
        """Delete the oldest files if too much was written since the last check."""
        self._unchecked_bytes += num_bytes
        if self._unchecked_bytes > self._max_bytes * _FILE_SHARE:
            self._unchecked_bytes = 0
            delete_oldest(
                [path for path in list_files(self._folder) if path != self._path], self._max_bytes * _KEPT_SHARE
            )


def list_files(folder: Path) -> list[Path]:
    """Return the log files of *folder* and its photos."""
    # Not a file that has no lock and no name yet, which starts with a dot.
    return [*folder.glob("[!.]*.jsonl"), *(folder / PHOTOS).glob("*.webp")]


def delete_oldest(paths: list[Path], max_bytes: float) -> None:
    """Delete the files that were written first, until the rest has at most *max_bytes*."""
    found = []
    for path in paths:
        # Another worker may have deleted it.
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.append((stat.st_mtime, stat.st_size, path))
    kept_bytes = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if kept_bytes <= max_bytes:
            return
        path.unlink(missing_ok=True)
        kept_bytes -= size


def is_finished(path: Path) -> bool:
    """Return whether no worker writes the log file *path* any more."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
