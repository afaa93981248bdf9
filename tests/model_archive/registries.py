"""Files put into a registry's storage, and what is then there."""

import json
from pathlib import Path
from typing import Any

from model_archive.archive_registry import Registry
from model_archive.storage import Storage


def put(storage: Storage, name: str, content: bytes, folder: Path) -> None:
    path = folder / "put"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert storage.create(name, file, len(content))


def put_entry(storage: Storage, folder: Path, version: str, **changes: object) -> dict[str, Any]:
    """Put the entry of *version* into a registry that has 1.1.0: that entry with *changes*; return it."""
    entry = json.loads(b"".join(storage.read("fruity/1.1.0.json")))
    put(storage, f"fruity/{version}.json", json.dumps({**entry, "version": version, **changes}).encode(), folder)
    return entry  # type: ignore[no-any-return]


def listed(registry: Registry) -> list[str]:
    return [entry.digest for entry in registry.read_entries()[0]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
