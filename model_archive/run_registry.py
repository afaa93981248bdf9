"""The registry of runs: finished runs, published once under their id and never changed.

`<id>.json` is a run's entry, written last; `<id>/<SHA-256><suffix>` are its files.
"""

import shutil
from pathlib import Path

from filelock import FileLock

from model_archive.entry_store import EntryStore, Report, local_errors
from model_archive.run_entry import RunEntry, RunFolderError, check_run, describe_run, is_run_id
from model_archive.storage import FolderStorage, RegistryError, Storage, open_storage

__all__ = ["RegistryError", "RunRegistry", "open_runs"]


def open_runs(uri: str, report: Report | None = None, *, must_exist: bool = False) -> "RunRegistry":
    """Return the runs at *uri*, a folder (which *must_exist*) or `gs://bucket/prefix`; raise `RegistryError`."""
    return RunRegistry(open_storage(uri, must_exist=must_exist), report)


class RunRegistry:
    """Every method raises `RegistryError`."""

    def __init__(self, storage: Storage, report: Report | None = None) -> None:
        self._storage = storage
        self._entries = EntryStore(storage, RunEntry, report=report)

    def publish(self, folder: Path) -> RunEntry:
        """Return the entry of the run *folder*, published now, or before if it is the same."""
        with local_errors(folder, RunFolderError):
            self._check_apart(folder.resolve())
            entry = describe_run(folder)
            held = self._entries.publish(entry, {name: folder / name for name in entry.files})
        if held.digest != entry.digest:
            raise RegistryError(
                f"{self._storage.uri} has {held.title} with the digest {held.digest}, this one has {entry.digest}; "
                "publish it under another id: rename its folder"
            )
        return held

    def fetch(self, run_id: str, runs: Path, digest: str | None = None) -> Path:
        """Return the folder of *run_id*, fetched into the folder *runs* if it is not there, with *digest* if given."""
        with local_errors(runs, RunFolderError):
            held, advice = sorted(filter(is_run_id, self._entries.keys())), "make publish-run adds or completes one"
            entry = self._entries.require(run_id, held, f"whole run {run_id!r}", advice)
            if digest not in (None, entry.digest):
                raise RegistryError(
                    f"{self._storage.uri} has {entry.title} with the digest {entry.digest}, asked for is {digest}; "
                    "check which run is meant"
                )
            self._check_apart(runs / run_id)
            runs.mkdir(parents=True, exist_ok=True)
            # Two fetches at once would write into the same files.
            with FileLock(runs / f".{run_id}.lock"):
                return self._fetch(entry, runs)

    def _fetch(self, entry: RunEntry, runs: Path) -> Path:
        folder = runs / entry.id
        if folder.exists():
            check_digest(folder, entry.digest)
            return folder
        # Named by the digest, so that a fetch continues only its own files.
        arrivals = runs / f".{entry.id}.{entry.digest[:16]}"
        arrivals.mkdir(exist_ok=True)
        for name in entry.files:
            self._entries.download(entry, name, arrivals / name)
        try:
            check_run(arrivals)
        except RunFolderError:
            shutil.rmtree(arrivals)
            raise
        arrivals.rename(folder)
        return folder

    def _check_apart(self, run: Path) -> None:
        """Raise `RegistryError` if the registry's objects would lie among the files of *run*."""
        root = Path(self._storage.uri).resolve()
        if isinstance(self._storage, FolderStorage) and (root == run.resolve().parent or root.is_relative_to(run)):
            raise RegistryError(f"{self._storage.uri} is where the run {run} itself lies; name another folder")


def check_digest(folder: Path, digest: str) -> None:
    """Raise `RegistryError` if the run *folder* has another digest, `RunFolderError` if it is not a run."""
    if (found := describe_run(folder).digest) != digest:
        raise RegistryError(f"{folder} has the digest {found}, asked for is {digest}; rename or delete that folder")
