"""Where an archive comes from: a registry, or what was built here."""

from collections.abc import Sequence
from pathlib import Path

from model_archive.identity import ArchiveError, check_version, file_name
from model_archive.registry import RegistryError, open_registry
from model_archive.signature import SignatureError, verify_archive
from scripts.model_store import BUILD, DEFAULT_ARCHIVES

FETCHED = BUILD / "fetched"


def find_archive(
    version: str,
    store: Path,
    registry: str | None = None,
    public_key: Path | None = None,
    folders: Sequence[Path] = (BUILD, DEFAULT_ARCHIVES),
) -> Path:
    """Return the archive of *version*: fetched if *registry* is given, else from *folders* or *store*.

    With a *public_key* its signature holds. Raises `ArchiveError`.
    """
    check_version(version)
    try:
        if registry:
            return open_registry(registry).fetch(version, FETCHED, public_key)
        path = _find_local(version, (*folders, store))
        if public_key:
            verify_archive(path, public_key)
    except (RegistryError, SignatureError) as error:
        raise ArchiveError(str(error)) from error
    return path


def _find_local(version: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (path := folder / file_name(version)).exists():
            return path
    raise ArchiveError(
        f"there is no {file_name(version)} in {' or '.join(map(str, folders))}; `make archive` builds one, "
        "REGISTRY=… names where to fetch it"
    )
