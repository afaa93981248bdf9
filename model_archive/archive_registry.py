"""The registry: versions of the model, published once and never changed.

`fruity/<version>.json` is a version's entry, written last; `fruity/<version>/<SHA-256><suffix>` are its files.
"""

import shutil
from pathlib import Path

from filelock import FileLock

from model_archive.entry import ARCHIVE_SUFFIX, Entry, describe_archive, hash_file
from model_archive.entry_store import EntryStore, Report, local_errors
from model_archive.identity import MODEL, ArchiveError, check_version, file_name, identify, is_version, version_order
from model_archive.signature import SIGNATURE_SUFFIX, SignatureError, check_signed, signature_path, verify_archive
from model_archive.storage import RegistryError, Storage, open_storage

__all__ = ["Entry", "Registry", "RegistryError", "Report", "open_registry"]


def open_registry(uri: str, report: Report | None = None, *, must_exist: bool = False) -> "Registry":
    """Return the registry at *uri*, a folder (which *must_exist*) or `gs://bucket/prefix`; raise `RegistryError`."""
    return Registry(open_storage(uri, must_exist=must_exist), report)


class Registry:
    """Every method raises `RegistryError`, or `SignatureError` for a signature that does not verify."""

    def __init__(self, storage: Storage, report: Report | None = None) -> None:
        self._uri = storage.uri
        self._entries = EntryStore(storage, Entry, MODEL, report)

    def publish(self, archive: Path) -> Entry:
        """Return the entry of *archive*, published with the files beside it now, or before if it is the same."""
        with local_errors(archive, ArchiveError):
            entry = describe_archive(archive)
            if entry.signed:
                check_signed(archive, entry.digest)
            held = self._entries.publish(entry, {suffix: archive.with_suffix(suffix) for suffix in entry.files})
        if held.digest != entry.digest:
            raise RegistryError(
                f"{self._uri} has {held.title} with the SHA-256 {held.digest}, this archive has {entry.digest}; "
                "build a new version: make archive VERSION=…"
            )
        if entry.signed and not held.signed:
            raise RegistryError(
                f"{self._uri} has {held.title} unsigned; build a signed one: make archive VERSION=… SIGNING_KEY=…"
            )
        return held

    def versions(self) -> list[str]:
        """Return all versions, newest last, also those whose entries cannot be read."""
        return sorted(filter(is_version, self._entries.keys()), key=version_order)

    def read_entries(self) -> tuple[list[Entry], list[RegistryError]]:
        """Return the entries that can be read, newest last, and one error for each that cannot."""
        entries, errors = [], []
        for version in self.versions():
            try:
                entries.append(self._entries.read(version))
            except RegistryError as error:
                errors.append(error)
        return entries, errors

    def fetch(self, version: str, folder: Path, public_key: Path | None = None) -> Path:
        """Return the archive of *version*, fetched into *folder* with its files, verified, with *public_key* if given.

        Continues a fetch that failed, and does not fetch again what is in *folder*.
        """
        archive = folder / file_name(version)
        with local_errors(folder, ArchiveError):
            held, advice = self.versions(), "make publish adds a version"
            entry = self._entries.require(check_version(version), held, f"{MODEL} {version}", advice)
            folder.mkdir(parents=True, exist_ok=True)
            # Two fetches at once would write into the same file.
            with FileLock(folder / f".{archive.name}.lock"):
                self._fetch(entry, archive, public_key)
        return archive

    def _fetch(self, entry: Entry, archive: Path, public_key: Path | None) -> None:
        if archive.exists() and (found := hash_file(archive)) != entry.digest:
            raise RegistryError(
                f"{archive} has the SHA-256 {found}, the registry's has {entry.digest}; delete the file"
            )
        # Named by the digest, so that a fetch does not continue the file of another publication.
        arrivals = archive.with_name(f".{archive.name}.{entry.digest[:16]}")
        arrivals.mkdir(exist_ok=True)
        places = self._download_missing(entry, archive, arrivals)
        try:
            if public_key is not None:
                signature = places.get(SIGNATURE_SUFFIX, signature_path(archive))
                verify_archive(places[ARCHIVE_SUFFIX], public_key, signature)
            # A valid signature may be that of another version.
            identify(places[ARCHIVE_SUFFIX])
        except (SignatureError, ArchiveError):
            shutil.rmtree(arrivals)
            raise
        # The archive last.
        for suffix in sorted(places, key=lambda suffix: suffix == ARCHIVE_SUFFIX):
            places[suffix].replace(archive.with_suffix(suffix))
        shutil.rmtree(arrivals)

    def _download_missing(self, entry: Entry, archive: Path, arrivals: Path) -> dict[str, Path]:
        """Return by suffix the path of each file of *entry*: beside *archive* if it was there, else in *arrivals*."""
        places: dict[str, Path] = {}
        for suffix, file in entry.files.items():
            place = archive.with_suffix(suffix)
            if not place.exists() or hash_file(place) != file.digest:
                place = arrivals / place.name
                self._entries.download(entry, suffix, place)
            places[suffix] = place
        return places
