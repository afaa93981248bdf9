"""The files of a source or a destination: a folder here, or a prefix of a Google Cloud Storage bucket.

Nothing is imported that imports `handler`: an actor gets it from the archive.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from google.api_core.exceptions import NotFound

from model_archive.bucket_storage import bucket_errors, connect, split_uri
from model_archive.storage import PARTIAL_SUFFIX, partial_file

BUCKET_SCHEME = "gs://"
_STREAM_CHUNK_BYTES = 1 << 23


class FileError(Exception):
    """A file or folder cannot be listed, read or written; its text says which, why and what to do."""


def open_files(uri: str) -> "Files":
    """Return the files below *uri*, a folder or `gs://bucket/prefix`; raise `FileError`."""
    if uri.startswith(BUCKET_SCHEME):
        return BucketFiles(uri)
    if "://" in uri:
        raise FileError(f"{uri} is neither a folder nor gs://bucket/prefix; copy the photos to one of them")
    return FolderFiles(Path(uri))


class FolderFiles:
    """Names are relative to the root, with slashes. All methods raise `FileError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list_names(self) -> Iterator[str]:
        """Yield the names of all files, also in subfolders; hidden ones (a name from a dot on) are left out."""
        with _folder_errors("listed"):
            yield from _list_folder(self._folder, "")

    def read(self, name: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        """Return *num_bytes* of a file from byte *start* on, fewer at its end; None is the rest."""
        with _folder_errors("read"), (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if num_bytes is None else num_bytes)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open the file to be read; it can seek."""
        with _folder_errors("read"), (self._folder / name).open("rb") as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears whole or not at all, and replaces an older one."""
        path = self._folder / name
        with _folder_errors("written"), partial_file(path, io.BytesIO(content)) as partial:
            partial.replace(path)

    def remove(self, name: str) -> None:
        """Remove the file if it exists."""
        with _folder_errors("removed"):
            (self._folder / name).unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what writers that were killed left below *folder*; raise `FileError`."""
    with _folder_errors("removed"):
        for path in folder.rglob(f".*{PARTIAL_SUFFIX}"):
            path.unlink(missing_ok=True)


def _list_folder(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        # Only of this folder, so that memory does not grow with the number of all photos.
        listed = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in listed:
        if name.startswith("."):
            continue
        if is_folder:
            yield from _list_folder(folder / name, f"{prefix}{name}/")
        # A link to a folder may lead round in a circle.
        elif not (folder / name).is_dir():
            yield prefix + name


@contextmanager
def _folder_errors(act: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        raise FileError(f"could not be {act} ({reason})") from error


class BucketFiles:
    """The methods of `FolderFiles`, for the objects below a prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """*uri* is `gs://bucket/prefix`."""
        name, self._prefix = split_uri(uri, FileError)
        with bucket_errors("read", FileError):
            self._bucket = _client().bucket(name)

    def list_names(self) -> Iterator[str]:
        with bucket_errors("listed", FileError):
            # In pages, of names only.
            for blob in self._bucket.list_blobs(prefix=self._prefix, fields="items(name),nextPageToken"):
                name = blob.name.removeprefix(self._prefix)
                if name and not name.endswith("/") and not any(part.startswith(".") for part in name.split("/")):
                    yield name

    def read(self, name: str, start: int = 0, num_bytes: int | None = None) -> bytes:
        if num_bytes == 0:
            return b""
        with bucket_errors("read", FileError):
            end = None if num_bytes is None else start + num_bytes - 1
            # A part of an object has no checksum to compare.
            checksum = None if start or end is not None else "auto"
            content: bytes = self._blob(name).download_as_bytes(start=start or None, end=end, checksum=checksum)
            return content

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with bucket_errors("read", FileError), self._blob(name).open("rb", chunk_size=_STREAM_CHUNK_BYTES) as file:
            yield file

    def write(self, name: str, content: bytes) -> None:
        with bucket_errors("written", FileError):
            self._blob(name).upload_from_string(content, content_type="application/octet-stream")

    def remove(self, name: str) -> None:
        with bucket_errors("removed", FileError):
            try:
                self._blob(name).delete()
            except NotFound:
                return

    def _blob(self, name: str) -> Any:
        return self._bucket.blob(self._prefix + name)


Files = FolderFiles | BucketFiles

# One for each process.
_client = cache(connect)
