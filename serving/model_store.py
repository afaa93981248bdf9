"""The model store: the folder that TorchServe loads archives from, and where those archives come from."""

import errno
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from handler.spec import Spec
from model_archive import identity
from model_archive.archive_registry import open_registry
from model_archive.entry import hash_file
from model_archive.golden import GoldenSample, read_golden
from model_archive.identity import MODEL, ArchiveError, file_name
from model_archive.seal import read_model_config
from model_archive.signature import signature_path, verify_archive
from model_archive.storage import partial_file

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
DEFAULT_ARCHIVES = ROOT / "model_archive" / "default"
DEFAULT_ARCHIVE = DEFAULT_ARCHIVES / "fruity-1.0.0.mar"
FINE_TUNED_ARCHIVE = DEFAULT_ARCHIVES / "fruity-2.0.0.mar"
STORE = BUILD / "model_store"
SERVED_NAME = "fruity.mar"
TRIAL_NAME = "trial.mar"
"""A copy of that one with another model-config.yaml, for one server: it is never promoted."""
CONFIG_NAME = "model-config.yaml"


class ModelStoreError(Exception):
    """No archive can be served, or the content of one is not what its name says."""


class Source(NamedTuple):
    """Where to take an archive from: a file, a registry, or by default what was built here."""

    archive: Path | None = None
    registry: str | None = None  # a folder or gs://bucket/prefix
    public_key: Path | None = None  # of the key that must have signed it, wherever it comes from


class Archive(NamedTuple):
    """An archive file that was read and checked."""

    path: Path
    version: str
    digest: str  # SHA-256 in hex
    spec: Spec
    golden: list[GoldenSample]


def choose_archive() -> Path:
    """Return the newest archive that was built here, else the default one, else the one of the image.

    Raises `ModelStoreError`.
    """
    default = DEFAULT_ARCHIVES / DEFAULT_ARCHIVE.name
    try:
        return newest_archive(BUILD)
    except ModelStoreError:
        return default if default.exists() else newest_archive(BUILD, DEFAULT_ARCHIVES)


def newest_archive(*folders: Path) -> Path:
    """Return the archive with the highest version, of equal ones that of the first folder; raise `ModelStoreError`."""
    found = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
    archives = [(identity.version_order(name), path) for path in found if (name := identity.version_in(path.name))]
    if not archives:
        raise ModelStoreError(f"no fruity-<version>.mar in {' or '.join(map(str, folders))}; run make archive")
    return max(archives, key=lambda archive: archive[0])[1]


def resolve_archive(version: str, store: Path, source: Source) -> Path:
    """Return the file of *version* from *source*, or one that was fetched or stored before; its signature holds.

    Raises `ArchiveError`, `RegistryError` or `SignatureError`.
    """
    identity.check_version(version)
    # In a container only the folder around the model store is writable.
    fetched = store.parent / "fetched"
    if source.registry and not source.archive:
        return open_registry(source.registry, must_exist=True).fetch(version, fetched, source.public_key)
    name, folders = file_name(version), (BUILD, DEFAULT_ARCHIVES, fetched, store)
    path = source.archive or next((folder / name for folder in folders if (folder / name).exists()), None)
    if path is None and (stored := find_stored(store, version)):
        path = stored.path
    if path is None:
        places = " or ".join(map(str, folders))
        raise ArchiveError(f"{name} is not in {places}; `make archive` builds it, REGISTRY=… names where to fetch it")
    if source.public_key:
        verify_archive(path, source.public_key)
    return path


def read_archive(path: Path, version: str | None = None) -> Archive:
    """Return the content of *path*; raise `ArchiveError` unless it is fruity's, undamaged, and of *version*."""
    found = identity.read_identity(path)
    identity.check_members(path)
    golden, digest = read_golden(path), hash_file(path)
    if version not in (None, found.version):
        raise ArchiveError(f"{path} holds version {found.version}, expected was {version}")
    return Archive(path, found.version, digest, found.spec, golden)


def find_stored(store: Path, version: str) -> Archive | None:
    """Return the archive of *version* in the model store, under its own name or as the one that is loaded at start."""
    for name in (file_name(version), SERVED_NAME):
        path = store / name
        if path.exists() and (archive := read_archive(path)).version == version:
            return archive
    return None


def put_into_store(archive: Archive, store: Path) -> bool:
    """Copy *archive* into *store* under the name of its version; return whether it is new there.

    Create-only: raises `ArchiveError` if the version is there with another digest, or if the disk is full.
    """
    target = store / file_name(archive.version)
    if target.exists():
        if (stored := hash_file(target)) != archive.digest:
            raise ArchiveError(
                f"version {archive.version} is in the model store with another digest: {stored[:12]}… there, "
                f"{archive.digest[:12]}… in {archive.path}; give the new one a new version (`make archive VERSION=…`), "
                f"or delete {target} if that one never served"
            )
        return False
    try:
        with archive.path.open("rb") as content, partial_file(target, content) as partial:
            partial.replace(target)
    except OSError as error:
        raise ArchiveError(_explain(error, archive, store)) from error
    return True


def stage(archive: Path, store: Path, public_key: Path | None = None) -> Path:
    """Copy *archive* to the name that config.properties loads, in one atomic step; return the copy.

    With a *public_key* only an archive that was signed with its private key and holds the version in its name. Raises
    `SignatureError` or `ArchiveError`.
    """
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=store) as scratch:
        copy = Path(scratch) / archive.name
        shutil.copyfile(archive, copy)
        if public_key:
            # The copy, so that nobody can change the archive in between.
            verify_archive(copy, public_key, signature_path(archive))
            identity.identify(copy)
        return copy.replace(store / SERVED_NAME)


def stage_trial(archive: Path, store: Path, config: Path) -> Path:
    """Write a copy of *archive* with *config* as its model-config.yaml into *store*; return it.

    Raises `SettingsError` if the handler would refuse *config*.
    """
    text = read_model_config(config)
    partial = store / f".{TRIAL_NAME}"
    try:
        return edit_archive(archive, partial, {CONFIG_NAME: lambda _: text.encode()}).replace(store / TRIAL_NAME)
    finally:
        partial.unlink(missing_ok=True)


def _explain(error: OSError, archive: Archive, store: Path) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"{archive.path.name} cannot be copied into the model store {store}: {error.strerror}"
    stored = ", ".join(sorted(path.name for path in store.glob(f"{MODEL}-*.mar"))) or "no archive"
    size = archive.path.stat().st_size
    return f"the model store {store} is full: {size:,} bytes are needed; it holds {stored}, remove what is not served"


def edit_archive(archive: Path, target: Path, edits: Mapping[str, Callable[[bytes], bytes]]) -> Path:
    """Write a copy of *archive* to *target* in which *edits*, by the member's name, change members; return *target*."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for member in source.infolist():
            copy.writestr(member, edits.get(member.filename, bytes)(source.read(member)))
    return target
