"""The entry of one version in a registry, and the download of its files."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from handler.spec import Schema
from model_archive.identity import MODEL, identify
from model_archive.signature import SIGNATURE_SUFFIX
from model_archive.storage import RegistryError, Storage

SCHEMA: Literal[1] = 1

ARCHIVE_SUFFIX: Literal[".mar"] = ".mar"
SBOM_SUFFIX = ".cdx.json"

Suffix = Literal[".mar", ".md", ".cdx.json", ".sig", ".sigstore.json"]
"""Archive, card, bill of materials, signature by a key, keyless signature."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """SHA-256 in hex."""
    size: Annotated[int, msgspec.Meta(ge=0)]


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal[1] = SCHEMA
    name: str = MODEL
    version: str
    published: datetime
    metrics: dict[str, dict[str, float]] = {}
    """By split, then by the metric's name."""
    files: dict[Suffix, File]
    """The archive and the files beside it, by suffix."""

    def __post_init__(self) -> None:
        if ARCHIVE_SUFFIX not in self.files:
            raise ValueError("its files have no archive")

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


def decode_entry(text: bytes, version: str, place: str) -> Entry:
    """Return the entry of *version*, which *text* from *place* must be; raise `RegistryError`."""
    try:
        schema = msgspec.json.decode(text, type=Schema).schema
        if isinstance(schema, int) and schema > SCHEMA:
            raise RegistryError(f"{place} has schema {schema}, this fruity reads up to {SCHEMA}; update fruity")
        entry = msgspec.json.decode(text, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"{place} is not a registry's entry ({error}); ask its owner to fix it") from error
    if (entry.name, entry.version) != (MODEL, version):
        raise RegistryError(f"{place} is the entry of {entry.name} {entry.version}; ask its owner to fix it")
    return entry


def download(storage: Storage, name: str, wanted: File, path: Path, progress: Callable[[int], None]) -> None:
    """Download the rest of *name* to *path*; raise `OSError`, or `RegistryError` if it is not *wanted*."""
    held = path.exists() and path.stat().st_size > 0
    with path.open("ab") as file:
        missing, free = wanted.size - file.tell(), shutil.disk_usage(path.parent).free
        if free < missing:
            raise RegistryError(
                f"{path.parent} has {free:,} bytes free, {missing:,} are needed; free some, or choose another folder"
            ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        chunks = storage.read(name, file.tell()) if missing > 0 else ()
        for chunk in chunks:
            file.write(chunk)
            progress(file.tell())
            # An object that is larger than the published one is wrong.
            if file.tell() > wanted.size:
                break
    if (found := hash_file(path)) == wanted.digest:
        return
    path.unlink()
    if not held:
        raise RegistryError(
            f"{storage.uri}/{name} has the SHA-256 {found}, its entry has {wanted.digest}; publish a new version"
        )
    # A crash may have damaged the beginning.
    download(storage, name, wanted, path, progress)
