"""A registry in a folder, of this machine or mounted by several."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from model_archive.storage import CHUNK_BYTES, RegistryError


class FolderStorage:
    def __init__(self, folder: Path) -> None:
        self.uri = str(folder)
        self._folder = folder

    def list_names(self, folder: str) -> list[str]:
        path = self._folder / folder
        with self._errors("read"):
            return sorted(file.name for file in path.iterdir() if file.is_file()) if path.exists() else []

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        with self._errors("read"), (self._folder / name).open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        path = self._folder / name
        with self._errors("written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                return False
            with NamedTemporaryFile(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as partial:
                shutil.copyfileobj(content, partial, CHUNK_BYTES)
                partial.flush()
                # Before the link: after a power cut there must not be a name without its content.
                os.fsync(partial.fileno())
                Path(partial.name).chmod(0o644)
                return _link(Path(partial.name), path)

    @contextmanager
    def _errors(self, act: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RegistryError(
                f"the registry {self.uri} could not be {act} ({error.strerror}: {error.filename or self.uri}); "
                "check that its disk is mounted, has space and lets you write, then run the command again"
            ) from error


def _link(partial: Path, path: Path) -> bool:
    # Unlike a rename, a link fails if another publisher was faster.
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return False
    return True
