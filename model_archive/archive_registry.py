"""The registry: versions of the model, published once and never changed.

`fruity/<version>.json` is a version's entry, written last; `fruity/<version>/<SHA-256><suffix>` are its files.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from handler.spec import encode_sorted
from model_archive.entry import ARCHIVE_SUFFIX, Entry, decode_entry, describe_archive, download, hash_file
from model_archive.identity import MODEL, ArchiveError, check_version, file_name, identify, is_version, version_order
from model_archive.signature import (
    SIGNATURE_SUFFIX,
    SignatureError,
    check_signed,
    required_package,
    signature_path,
    verify_archive,
)
from model_archive.storage import FolderStorage, RegistryError, Storage

__all__ = ["Entry", "Registry", "RegistryError", "Report", "open_registry"]

Report = Callable[[str, int, int], None]
"""Gets a file's name, the number of bytes transferred, and its size."""

_ENTRY_SUFFIX = ".json"


def open_registry(uri: str, report: Report | None = None, *, must_exist: bool = False) -> "Registry":
    """Return the registry at *uri*, a folder (which *must_exist*) or `gs://bucket/prefix`; raise `RegistryError`."""
    if uri.startswith("gs://"):
        # A registry in a folder does not need Google's packages.
        with required_package(RegistryError):
            from model_archive.bucket_storage import BucketStorage
        return Registry(BucketStorage(uri), report)
    if "://" in uri or not uri:
        raise RegistryError(f"{uri!r} is not a registry; write a folder or gs://bucket/prefix")
    if must_exist and not Path(uri).is_dir():
        raise RegistryError(f"the registry {uri} does not exist; check the name, `make publish` creates one")
    return Registry(FolderStorage(Path(uri)), report)


class Registry:
    """Every method raises `RegistryError`, or `SignatureError` for a signature that does not verify."""

    def __init__(self, storage: Storage, report: Report | None = None) -> None:
        self._storage = storage
        self._report = report or (lambda what, num_done, num_bytes: None)

    def publish(self, archive: Path) -> Entry:
        """Return the entry of *archive*, published with the files beside it now, or before if it is the same."""
        with _local_errors(archive):
            entry = describe_archive(archive)
            if entry.signed:
                check_signed(archive, entry.digest)
            held = self._read_entry(entry.version) if entry.version in self._versions() else None
            if held is None:
                self._upload(entry, archive)
                text = encode_sorted(entry)
                if self._storage.create(f"{MODEL}/{entry.version}{_ENTRY_SUFFIX}", io.BytesIO(text), len(text)):
                    return entry
                # Another publisher was faster.
                held = self._read_entry(entry.version)
        _check_same(held, entry, self._storage.uri)
        return held

    def read_entries(self) -> tuple[list[Entry], list[RegistryError]]:
        """Return the entries that can be read, newest last, and one error for each that cannot."""
        entries, errors = [], []
        for version in self._versions():
            try:
                entries.append(self._read_entry(version))
            except RegistryError as error:
                errors.append(error)
        return entries, errors

    def fetch(self, version: str, folder: Path, public_key: Path | None = None) -> Path:
        """Return the archive of *version*, fetched into *folder* with its files, verified, with *public_key* if given.

        Continues a fetch that failed, and does not fetch again what is in *folder*.
        """
        archive = folder / file_name(version)
        with _local_errors(folder):
            entry = self._require(version)
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
                name = _object_name(entry.version, suffix, file.digest)
                download(self._storage, name, file, place, self._progress(place.name, file.size))
            places[suffix] = place
        return places

    def _upload(self, entry: Entry, archive: Path) -> None:
        for suffix, file in entry.files.items():
            path, name = archive.with_suffix(suffix), _object_name(entry.version, suffix, file.digest)
            with _ReportingFile(path, self._progress(path.name, file.size)) as content:
                is_new = self._storage.create(name, content, file.size)
            if not is_new and hashlib.sha256(b"".join(self._storage.read(name))).hexdigest() != file.digest:
                raise RegistryError(f"{self._storage.uri}/{name} is damaged; delete it, then publish again")

    def _versions(self) -> list[str]:
        names = self._storage.list_names(MODEL)
        stems = [name.removesuffix(_ENTRY_SUFFIX) for name in names if name.endswith(_ENTRY_SUFFIX)]
        return sorted(filter(is_version, stems), key=version_order)

    def _require(self, version: str) -> Entry:
        versions = self._versions()
        if check_version(version) not in versions:
            held = f"it holds {', '.join(versions)}" if versions else "it is empty"
            raise RegistryError(f"{self._storage.uri} has no {MODEL} {version}, {held}; make publish adds a version")
        return self._read_entry(version)

    def _read_entry(self, version: str) -> Entry:
        name = f"{MODEL}/{version}{_ENTRY_SUFFIX}"
        return decode_entry(b"".join(self._storage.read(name)), version, f"{self._storage.uri}/{name}")

    def _progress(self, what: str, num_bytes: int) -> Callable[[int], None]:
        return lambda num_done: self._report(what, num_done, num_bytes)


class _ReportingFile(io.FileIO):
    """A file that reports how far it was read."""

    def __init__(self, path: Path, progress: Callable[[int], None]) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._progress(self.tell())
        return content


def _object_name(version: str, suffix: str, digest: str) -> str:
    return f"{MODEL}/{version}/{digest}{suffix}"


def _check_same(held: Entry, entry: Entry, uri: str) -> None:
    if held.digest != entry.digest:
        raise RegistryError(
            f"{uri} has {MODEL} {held.version} with the SHA-256 {held.digest}, this archive has {entry.digest}; "
            "build a new version: make archive VERSION=…"
        )
    if entry.signed and not held.signed:
        raise RegistryError(
            f"{uri} has {MODEL} {held.version} unsigned; build a signed one: make archive VERSION=… SIGNING_KEY=…"
        )


@contextmanager
def _local_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except ArchiveError as error:
        raise RegistryError(str(error)) from error
    except OSError as error:
        raise RegistryError(
            f"{error.filename or path} could not be read or written ({error.strerror or error}); check that it exists, "
            "its disk has space and you may write there, then run the command again to continue"
        ) from error
