"""Where a registry keeps its objects: a folder or a bucket, create-only."""

from collections.abc import Iterator
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 22


class RegistryError(Exception):
    """A registry refuses, cannot be reached, or holds what it should not."""


class Storage(Protocol):
    """Objects are named as `fruity/1.1.0.json`, appear whole, and are never changed. All raise `RegistryError`."""

    uri: str

    def list_names(self, folder: str) -> list[str]:
        """Return the names, without *folder*, of the objects right in it; none where it is not there."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Return the content from byte *start* on, in chunks."""

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        """Return whether the object is new; where there is one of that name it stays, whatever it holds."""
