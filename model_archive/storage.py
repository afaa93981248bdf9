"""The storage of a registry: a folder or a bucket, whose objects are created once."""

from collections.abc import Iterator
from typing import BinaryIO, Protocol

CHUNK_BYTES = 1 << 22


class RegistryError(Exception):
    """A registry refuses a request, cannot be reached, or has a broken object."""


class Storage(Protocol):
    """Objects have names like `fruity/1.1.0.json`, appear whole and never change. All methods raise `RegistryError`."""

    uri: str

    def list_names(self, folder: str) -> list[str]:
        """Return the names of the objects in *folder*, without it; an empty list if it does not exist."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Yield the content from byte *start* on, in chunks."""

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        """Return whether the object was created; an existing one of that name is not changed."""
