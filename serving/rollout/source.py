"""Where an archive comes from: a registry, or what was built here."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model_archive.identity import ArchiveError, check_version, file_name
from model_archive.registry import RegistryError, open_registry
from model_archive.signature import SignatureError, verify_archive
from serving.model_store import BUILD, DEFAULT_ARCHIVES


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Let the command line name a registry and a key, by default the environment's PUBLIC_KEY: a container has one."""
    parser.add_argument("--registry", help="where to fetch it: a folder or gs://bucket/prefix (default: build/)")
    parser.add_argument(
        "--public-key",
        type=Path,
        default=os.environ.get("PUBLIC_KEY") or None,
        help="refuse an archive without a signature that it verifies, wherever it lies (default: PUBLIC_KEY)",
    )


def find_archive(
    version: str,
    store: Path,
    registry: str | None = None,
    public_key: Path | None = None,
    folders: Sequence[Path] = (BUILD, DEFAULT_ARCHIVES),
) -> Path:
    """Return the archive of *version*: fetched if *registry* is given, else from *folders*, fetched before, or *store*.

    With a *public_key* its signature holds. Raises `ArchiveError`.
    """
    check_version(version)
    fetched = fetched_beside(store)
    if registry:
        with _refused():
            return open_registry(registry).fetch(version, fetched, public_key)
    return verify(_find_local(version, (*folders, fetched, store)), public_key)


def fetched_beside(store: Path) -> Path:
    """Return the folder for what is fetched: of a container, only what is around its model store can be written."""
    return store.parent / "fetched"


def verify(archive: Path, public_key: Path | None) -> Path:
    """Return *archive* if its signature holds or no *public_key* asks for one; raise `ArchiveError`."""
    if public_key:
        with _refused():
            verify_archive(archive, public_key)
    return archive


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (RegistryError, SignatureError) as error:
        raise ArchiveError(str(error)) from error


def _find_local(version: str, folders: Sequence[Path]) -> Path:
    for folder in folders:
        if (path := folder / file_name(version)).exists():
            return path
    raise ArchiveError(
        f"there is no {file_name(version)} in {' or '.join(map(str, folders))}; `make archive` builds one, "
        "REGISTRY=… names where to fetch it"
    )
