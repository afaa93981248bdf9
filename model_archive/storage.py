"""The storage of a registry: objects that are created once, in a folder here or in a bucket (bucket_storage.py)."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Protocol

from model_archive.signature import required_package

CHUNK_BYTES = 1 << 22
PARTIAL_SUFFIX = ".partial"


class RegistryError(Exception):
    """A registry refuses a request, cannot be reached, or has a broken object."""


class MissingObjectError(RegistryError):
    """An object that is read does not exist."""


class Storage(Protocol):
    """Objects have names like `fruity/1.1.0.json`, appear whole and never change. All methods raise `RegistryError`."""

    uri: str

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the objects in *folder* ("" is the top), without it; an empty list if it is missing."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Yield the content from byte *start* on, in chunks; raise `MissingObjectError` if it does not exist."""

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        """Return whether the object was created; an existing one of that name is not changed."""


def open_storage(uri: str, *, must_exist: bool = False) -> Storage:
    """Return the storage at *uri*, a folder (which *must_exist*) or `gs://bucket/prefix`; raise `RegistryError`."""
    if uri.startswith("gs://"):
        # A registry in a folder does not need Google's packages.
        with required_package(RegistryError):
            from model_archive.bucket_storage import BucketStorage
        return BucketStorage(uri)
    if "://" in uri or not uri:
        raise RegistryError(f"{uri!r} is not a registry; write a folder or gs://bucket/prefix")
    if must_exist and not Path(uri).is_dir():
        raise RegistryError(f"the registry {uri} does not exist; check the name, publishing creates one")
    return FolderStorage(Path(uri))


class FolderStorage:
    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self._folder = folder

    def list_names(self, folder: str) -> list[str]:
        path = self._folder / folder
        with self._errors("read"):
            return sorted(file.name for file in path.iterdir() if file.is_file()) if path.exists() else []

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        with self._errors("read"):
            try:
                file = (self._folder / name).open("rb")
            except FileNotFoundError as error:
                raise MissingObjectError(f"{self.uri}/{name} does not exist") from error
            with file:
                file.seek(start)
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        path = self._folder / name
        with self._errors("written"):
            if path.exists():
                return False
            # Unlike a rename, a link fails if another publisher was faster.
            with partial_file(path, content) as partial, suppress(FileExistsError):
                path.hardlink_to(partial)
                return True
        return False

    @contextmanager
    def _errors(self, act: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryError(
                f"the registry {self.uri} could not be {act} ({error.strerror}: {error.filename or self.uri}); "
                "check its disk, then run the command again"
            ) from error


@contextmanager
def partial_file(path: Path, content: BinaryIO) -> Iterator[Path]:
    """Yield a file with *content* beside *path*, which can be renamed or linked to it; it is removed at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(prefix=f".{path.name}.", suffix=PARTIAL_SUFFIX, dir=path.parent, delete=False) as file:
        partial = Path(file.name)
        try:
            shutil.copyfileobj(content, file, CHUNK_BYTES)
            file.flush()
            # Before it gets its name: after a power cut there must not be a name without its content.
            os.fsync(file.fileno())
            partial.chmod(0o644)
            yield partial
        finally:
            partial.unlink(missing_ok=True)
