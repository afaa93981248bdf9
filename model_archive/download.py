"""One object of a registry to a file; continues an earlier download."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from model_archive.entry import File, hash_file
from model_archive.storage import RegistryError, Storage

Progress = Callable[[int], None]
"""Gets the number of bytes that have arrived."""


def download(storage: Storage, name: str, wanted: File, path: Path, progress: Progress) -> None:
    """Download the object *name* to *path*, which may have its beginning, and check that it is *wanted*.

    Raises `RegistryError` or `OSError`. A part that has arrived is kept; a complete file that is wrong is deleted.
    """
    held = path.stat().st_size if path.exists() else 0
    _fetch_rest(storage, name, wanted.size, path, progress)
    found = hash_file(path)
    if found == wanted.digest:
        return
    path.unlink()
    if not held:
        raise RegistryError(
            f"{storage.uri}/{name} has the SHA-256 {found}, the registry's entry has {wanted.digest}: it was changed "
            "or damaged in the registry; do not use it, and publish the model again as a new version"
        )
    # A crash may have damaged the beginning.
    download(storage, name, wanted, path, progress)


def _fetch_rest(storage: Storage, name: str, num_bytes: int, path: Path, progress: Progress) -> None:
    with path.open("ab") as file:
        missing = num_bytes - file.tell()
        free = shutil.disk_usage(path.parent).free
        if free < missing:
            raise RegistryError(
                f"{path.parent} has {free:,} bytes free, {missing:,} are needed; free some, or choose another folder"
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if missing <= 0:
            return
        for chunk in storage.read(name, file.tell()):
            file.write(chunk)
            progress(file.tell())
            # An object that is larger than the published one is wrong.
            if file.tell() > num_bytes:
                break
