"""Entries in a storage, each created once and after its files: what the registries of archives and of runs share.

`<folder>/<key>.json` is an entry; `<folder>/<key>/<SHA-256><suffix>` are its files.
"""

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic

from handler.spec import encode_sorted
from model_archive.entry import ENTRY_SUFFIX, AnyEntry, File, decode_entry, hash_file
from model_archive.storage import MissingObjectError, RegistryError, Storage

Report = Callable[[str, int, int], None]
"""Gets a file's name, the number of bytes transferred, and its size."""


class EntryStore(Generic[AnyEntry]):
    """Every method raises `RegistryError` or `OSError`."""

    def __init__(self, storage: Storage, kind: type[AnyEntry], folder: str = "", report: Report | None = None) -> None:
        self._storage = storage
        self._kind = kind
        self._folder = folder
        self._report = report or (lambda what, num_done, num_bytes: None)

    def keys(self) -> list[str]:
        names = self._storage.list_names(self._folder)
        return [name.removesuffix(ENTRY_SUFFIX) for name in names if name.endswith(ENTRY_SUFFIX)]

    def read(self, key: str) -> AnyEntry:
        name = self._place(f"{key}{ENTRY_SUFFIX}")
        return decode_entry(b"".join(self._storage.read(name)), self._kind, key, f"{self._storage.uri}/{name}")

    def require(self, key: str, held: Sequence[str], what: str, fix: str) -> AnyEntry:
        """Return the entry of *key*, one of those *held*; *what* it is, and the *fix*, are for the error."""
        if key not in held:
            listed = f"it holds {', '.join(held)}" if held else "it is empty"
            raise RegistryError(f"{self._storage.uri} has no {what}, {listed}; {fix}")
        return self.read(key)

    def publish(self, entry: AnyEntry, paths: Mapping[str, Path]) -> AnyEntry:
        """Return *entry*, created after its files, which lie at *paths*, or the entry that its key has already."""
        if entry.key in self.keys():
            return self.read(entry.key)
        for name, path in paths.items():
            self._upload(self._name(entry, name), entry.files[name], path)
        text = encode_sorted(entry)
        if self._storage.create(self._place(f"{entry.key}{ENTRY_SUFFIX}"), io.BytesIO(text), len(text)):
            return entry
        # Another publisher was faster.
        return self.read(entry.key)

    def download(self, entry: AnyEntry, name: str, path: Path) -> None:
        """Download the rest of the file *name* of *entry* to *path*, verified."""
        wanted, place = entry.files[name], self._name(entry, name)
        held = path.exists() and path.stat().st_size > 0
        try:
            self._append(place, wanted.size, path)
        except MissingObjectError as error:
            raise RegistryError(
                f"{error}: {entry.title} is incomplete; delete its entry, then publish it again"
            ) from error
        if (found := hash_file(path)) == wanted.digest:
            return
        path.unlink()
        if not held:
            raise RegistryError(
                f"{self._storage.uri}/{place} has the SHA-256 {found}, its entry has {wanted.digest}; it was damaged "
                "there, publish it under another name"
            )
        # A crash may have damaged the beginning.
        self.download(entry, name, path)

    def _append(self, name: str, num_bytes: int, path: Path) -> None:
        """Append what *path* lacks of the object *name* of *num_bytes*."""
        with path.open("ab") as file:
            missing, free = num_bytes - file.tell(), shutil.disk_usage(path.parent).free
            if free < missing:
                raise RegistryError(
                    f"{path.parent} has {free:,} bytes free, {missing:,} are needed; free some, or choose another "
                    "folder"
                ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for chunk in self._storage.read(name, file.tell()) if missing > 0 else ():
                file.write(chunk)
                self._report(path.name, file.tell(), num_bytes)
                # An object that is larger than the published one is wrong.
                if file.tell() > num_bytes:
                    break

    def _upload(self, name: str, file: File, path: Path) -> None:
        with _ReportingFile(path, lambda num_done: self._report(path.name, num_done, file.size)) as content:
            is_new = self._storage.create(name, content, file.size)
        if not is_new and hashlib.sha256(b"".join(self._storage.read(name))).hexdigest() != file.digest:
            raise RegistryError(f"{self._storage.uri}/{name} is damaged; delete it, then publish again")

    def _name(self, entry: AnyEntry, name: str) -> str:
        _, dot, suffix = name.partition(".")
        return self._place(f"{entry.key}/{entry.files[name].digest}{dot}{suffix}")

    def _place(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name


class _ReportingFile(io.FileIO):
    """A file that reports how far it was read."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._progress(self.tell())
        return content


@contextmanager
def local_errors(path: Path, invalid: type[Exception]) -> Iterator[None]:
    """Turn an `OSError` of files here, and *invalid* content, into a `RegistryError`."""
    try:
        yield
    except invalid as error:
        raise RegistryError(str(error)) from error
    except OSError as error:
        raise RegistryError(
            f"{error.filename or path} could not be read or written ({error.strerror or error}); check that it exists, "
            "its disk has space and you may write there, then run the command again to continue"
        ) from error
