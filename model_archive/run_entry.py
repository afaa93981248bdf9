"""The entry of one run in a registry of runs: the digests of its files, and one of the whole run."""

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from safetensors import SafetensorError, safe_open

from handler.spec import FILE_NAME, WEIGHTS_FILE, SpecError, read_spec
from model_archive.entry import Digest, File, StoredEntry, hash_file

# As training/config.py allows it.
_RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
RunId = Annotated[str, msgspec.Meta(pattern=_RUN_ID)]
_FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]


class RunFolderError(Exception):
    """A folder is not a finished run."""


class RunEntry(StoredEntry, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: RunId
    digest: Digest
    """Of the whole run: see `digest_files`."""
    files: dict[_FileName, File]

    def __post_init__(self) -> None:
        if missing := {FILE_NAME, WEIGHTS_FILE} - set(self.files):
            raise ValueError(f"its files have no {' and no '.join(sorted(missing))}")
        if (found := digest_files(self.files)) != self.digest:
            raise ValueError(f"its files have the digest {found}, it says {self.digest}")

    @property
    def key(self) -> str:
        return self.id

    @property
    def title(self) -> str:
        return f"the run {self.id}"

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files.values())


def is_run_id(text: str) -> bool:
    return re.fullmatch(_RUN_ID, text) is not None


def digest_files(files: Mapping[str, File]) -> str:
    """Return the SHA-256 in hex of what `LC_ALL=C sha256sum *` prints for *files*."""
    lines = "".join(f"{files[name].digest}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def describe_run(folder: Path) -> RunEntry:
    """Return the entry of the run *folder*, or of the run that it links to; raise `RunFolderError` or `OSError`."""
    run = folder.resolve(strict=True)
    check_run(run)
    # Hidden files, as of file managers, are not the run's.
    paths = sorted(path for path in run.iterdir() if not path.name.startswith("."))
    if strangers := [path for path in paths if not path.is_file()]:
        raise RunFolderError(f"{strangers[0]} is not a file; a run has only files, remove it")
    files = {path.name: File(hash_file(path), path.stat().st_size) for path in paths}
    fields = {"id": run.name, "digest": digest_files(files), "published": datetime.now(UTC), "files": files}
    try:
        return msgspec.convert(fields, RunEntry, from_attributes=True)
    except msgspec.ValidationError as error:
        raise RunFolderError(f"{run} cannot be published as a run ({error}); rename it") from error


def check_run(run: Path) -> None:
    """Raise `RunFolderError` if *run* lacks a valid spec or whole weights."""
    try:
        read_spec(run)
        with safe_open(run / WEIGHTS_FILE, framework="numpy"):
            pass
    except SpecError as error:
        raise RunFolderError(str(error)) from error
    except (SafetensorError, FileNotFoundError) as error:
        raise RunFolderError(
            f"{run} is not a whole run, its {WEIGHTS_FILE} cannot be read ({error}); copy or fetch it again"
        ) from error
