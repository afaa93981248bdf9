"""Archives on their way to the server: checked, and put into the model store under the name of their version."""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from handler.spec import Spec
from model_archive.entry import hash_file
from model_archive.golden import GoldenPhoto, read_golden
from model_archive.identity import MODEL, ArchiveError, check_members, file_name, read_identity
from serving.model_store import SERVED_NAME


@dataclass(frozen=True)
class Archive:
    """An archive file that was looked into."""

    path: Path
    version: str
    digest: str
    """SHA-256 in hex."""
    spec: Spec
    golden: list[GoldenPhoto]


def read_archive(path: Path, version: str | None = None) -> Archive:
    """Return what *path* holds; raise `ArchiveError` unless it is fruity's, readable, and of *version*."""
    try:
        identity = read_identity(path)
        check_members(path)
        golden, digest = read_golden(path), hash_file(path)
    except FileNotFoundError as error:
        raise ArchiveError(
            f"there is no {path}; `make archive` builds one, REGISTRY=… names where to fetch it"
        ) from error
    if version is not None and identity.version != version:
        raise ArchiveError(f"{path} holds version {identity.version}, asked for was {version}")
    return Archive(path, identity.version, digest, identity.spec, golden)


def find_stored(store: Path, version: str) -> Archive | None:
    """Return the archive of *version* in the model store, under its own name or as the one that is loaded at start."""
    for name in (file_name(version), SERVED_NAME):
        path = store / name
        if path.exists() and (archive := read_archive(path)).version == version:
            return archive
    return None


def put_into_store(archive: Archive, store: Path) -> bool:
    """Copy *archive* into *store* under the name of its version; return whether it was not there yet.

    Create-only: raises `ArchiveError` if other bytes have that name, or if there is no room.
    """
    target = store / file_name(archive.version)
    if target.exists():
        if (there := hash_file(target)) != archive.digest:
            raise ArchiveError(
                f"version {archive.version} is in the model store with another digest: {there[:12]}… there, "
                f"{archive.digest[:12]}… in {archive.path}; give the new one a new version"
            )
        return False
    partial = target.with_suffix(".partial")
    try:
        store.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(archive.path, partial)
        partial.replace(target)
    except OSError as error:
        raise ArchiveError(_explain(error, archive, store)) from error
    finally:
        partial.unlink(missing_ok=True)
    return True


def _explain(error: OSError, archive: Archive, store: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        others = ", ".join(sorted(path.name for path in store.glob(f"{MODEL}-*.mar"))) or "nothing of fruity's"
        size = archive.path.stat().st_size
        return (
            f"the model store {store} is full: {size:,} bytes are needed; it holds {others}, remove what is not served"
        )
    return f"{archive.path.name} cannot be put into the model store {store}: {error.strerror}"
