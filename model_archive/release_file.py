"""The release file: the run that a release is made of, committed and reviewed like code."""

import re
from pathlib import Path
from typing import Annotated

import msgspec

from model_archive.entry import Digest
from model_archive.entry_store import Report, local_errors
from model_archive.identity import is_version
from model_archive.run_entry import RunFolderError, RunId, describe_run
from model_archive.run_registry import check_digest, open_runs

RELEASE_FILE = Path(__file__).parent / "release.toml"
_NAME = "make set-release RUN=… VERSION=… names one"


class ReleaseError(Exception):
    """The release file is not valid, or names no run."""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: str
    """Of the archive, and of the release."""
    runs: Annotated[str, msgspec.Meta(min_length=1)]
    """Where runs lie: a folder or `gs://bucket/prefix`."""
    run: RunId | None = None
    digest: Digest | None = None
    """Of the run."""

    def __post_init__(self) -> None:
        if not is_version(self.version):
            raise ValueError(f"version is {self.version!r}; write three numbers, for example 2.0.0")


def read_release(path: Path = RELEASE_FILE) -> Release:
    """Return the release; raise `ReleaseError`."""
    try:
        return _decode(path.read_text(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{path} cannot be read ({error}); restore it from Git") from error


def name_run(folder: Path, version: str, path: Path = RELEASE_FILE) -> Release:
    """Return the release of *version* from the run *folder*, written to *path*, whose other lines stay as they are.

    Raises `ReleaseError` or `RegistryError`.
    """
    with local_errors(folder, RunFolderError):
        entry = describe_run(folder)
        named = {"version": version, "run": entry.id, "digest": entry.digest}
        text = path.read_text()
        for key, value in named.items():
            text = _set_line(text, key, value)
        release = _decode(text, path)
        path.write_text(text)
    return release


def take_run(release: Release, runs: Path, uri: str | None = None, report: Report | None = None) -> Path:
    """Return the folder of the run of *release*: the one in the folder *runs*, or fetched into it.

    It is fetched from *uri*, by default from where the release says. Raises `ReleaseError` or `RegistryError`.
    """
    if release.run is None or release.digest is None:
        raise ReleaseError(f"{RELEASE_FILE.name} names no run with its digest; {_NAME}")
    folder = runs / release.run
    if folder.exists():
        with local_errors(folder, RunFolderError):
            check_digest(folder, release.digest)
        return folder
    return open_runs(uri or release.runs, report, must_exist=True).fetch(release.run, runs, release.digest)


def _decode(text: str, path: Path) -> Release:
    try:
        return msgspec.toml.decode(text, type=Release)
    except msgspec.DecodeError as error:
        raise ReleaseError(f"{path.name} is not a valid release file ({error}); {_NAME}") from error


def _set_line(text: str, key: str, value: str) -> str:
    """Return the TOML *text* with *key* set to *value*; its other lines and comments stay as they are."""
    line = f'{key} = "{value}"'
    changed, num_changed = re.subn(rf"^{key} *=.*$", lambda _: line, text, flags=re.MULTILINE)
    return changed if num_changed else f"{text.rstrip()}\n{line}\n"
