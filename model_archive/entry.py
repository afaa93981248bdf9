"""The entry of one version in a registry: the digests of its archive and of the files beside it."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from handler.spec import INVALID_JSON, Schema
from model_archive.identity import MODEL, identify
from model_archive.signature import SIGNATURE_SUFFIX
from model_archive.storage import RegistryError

SCHEMA: Literal[1] = 1
"""Of all entries."""
ENTRY_SUFFIX = ".json"

ARCHIVE_SUFFIX: Literal[".mar"] = ".mar"
SBOM_SUFFIX = ".cdx.json"

Suffix = Literal[".mar", ".md", ".cdx.json", ".sig", ".sigstore.json"]
"""Archive, card, bill of materials, signature by a key, keyless signature."""


Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 in hex."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: Digest
    size: Annotated[int, msgspec.Meta(ge=0)]


class StoredEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the entries of all registries have."""

    schema: Literal[1] = SCHEMA
    published: datetime
    files: Mapping[Any, File]

    @property
    def key(self) -> str:
        """What it is published under."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What messages call it."""
        raise NotImplementedError


AnyEntry = TypeVar("AnyEntry", bound=StoredEntry)


class Entry(StoredEntry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Literal["fruity"] = MODEL
    version: str
    metrics: dict[str, dict[str, float]] = {}
    """By split, then by the metric's name."""
    files: dict[Suffix, File]
    """The archive and the files beside it, by suffix."""

    def __post_init__(self) -> None:
        if ARCHIVE_SUFFIX not in self.files:
            raise ValueError("its files have no archive")

    @property
    def key(self) -> str:
        return self.version

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def digest(self) -> str:
        return self.files[ARCHIVE_SUFFIX].digest

    @property
    def size(self) -> int:
        return self.files[ARCHIVE_SUFFIX].size

    @property
    def signed(self) -> bool:
        return SIGNATURE_SUFFIX in self.files

    @property
    def accuracy(self) -> float | None:
        """Top-1 on the test split, else on the validation split, else None."""
        val = self.metrics.get("val", {}).get("top1")
        return self.metrics.get("test", {}).get("top1", val)


def describe_archive(archive: Path) -> Entry:
    """Return the entry of *archive* and the files beside it; raise `ArchiveError` or `OSError`."""
    identity = identify(archive)
    paths = {suffix: archive.with_suffix(suffix) for suffix in get_args(Suffix)}
    return Entry(
        version=identity.version,
        published=datetime.now(UTC),
        metrics=identity.spec.metrics,
        files={suffix: File(hash_file(path), path.stat().st_size) for suffix, path in paths.items() if path.exists()},
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of *path* in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decode_entry(text: bytes, kind: type[AnyEntry], key: str, place: str) -> AnyEntry:
    """Return the entry of *kind* and *key*, which *text* from *place* must be; raise `RegistryError`."""
    try:
        schema = msgspec.json.decode(text, type=Schema).schema
        if isinstance(schema, int) and schema > SCHEMA:
            raise RegistryError(f"{place} has schema {schema}, this fruity reads up to {SCHEMA}; update fruity")
        entry = msgspec.json.decode(text, type=kind)
    except INVALID_JSON as error:
        raise RegistryError(f"{place} is not a registry's entry ({error}); ask its owner to fix it") from error
    if entry.key != key:
        raise RegistryError(f"{place} is the entry of {entry.title}; ask its owner to fix it")
    return entry
