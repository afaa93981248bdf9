"""The registry: versions of the model, published once and never changed.

`fruity/<version>.json` is the entry of a version, `fruity/<version>/<SHA-256><suffix>` are its files: archive, card,
bill of materials and signatures. The entry is written last, so a version exists with all its files or not at all.
Files are named by their content, so the next publication continues one that failed.
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from model_archive.download import Progress, download
from model_archive.entry import ARCHIVE_SUFFIX, Entry, File, decode_entry, describe_archive, encode_entry, hash_file
from model_archive.folder_storage import FolderStorage
from model_archive.identity import MODEL, ArchiveError, check_version, file_name, identify, is_version, version_order
from model_archive.signature import SIGNATURE_SUFFIX, SignatureError, check_signed, signature_path, verify_archive
from model_archive.storage import RegistryError, Storage

__all__ = ["Entry", "Registry", "RegistryError", "Report", "open_registry"]

Report = Callable[[str, int, int], None]
"""Gets a file's name, the number of bytes transferred, and its size."""

_ENTRY_SUFFIX = ".json"


def open_registry(uri: str, report: Report | None = None, *, must_exist: bool = False) -> "Registry":
    """Return the registry at *uri*, a folder or `gs://bucket/prefix`; raise `RegistryError`.

    With *must_exist* also if that folder does not exist; a prefix of a bucket always does.
    """
    if uri.startswith("gs://"):
        try:
            # A registry in a folder does not need Google's packages.
            from model_archive.bucket_storage import BucketStorage
        except ImportError as error:
            raise RegistryError(
                f"a bucket needs a package that is not installed ({error}); run python3 scripts/prepare_venv.py "
                "registry, or use make, which installs it"
            ) from error
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
                text = encode_entry(entry)
                if self._storage.create(_entry_name(entry.version), io.BytesIO(text), len(text)):
                    return entry
                # Another publisher was faster.
                held = self._read_entry(entry.version)
        _check_same(held, entry, self._storage.uri)
        return held

    def list_versions(self) -> list[Entry]:
        """Return the entries of all versions, newest last."""
        return [self._read_entry(version) for version in self._versions()]

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
        """Return the archive of *version* in *folder*, fetched with the files beside it.

        It appears after its digest and, with a *public_key*, its signature are verified. The next fetch continues one
        that failed, and does not fetch again what is in *folder*.
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
        _check_free(archive, entry.digest)
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
                name = _object_name(entry.version, suffix, file)
                download(self._storage, name, file, place, self._progress(place.name, file))
            places[suffix] = place
        return places

    def _upload(self, entry: Entry, archive: Path) -> None:
        for suffix, file in entry.files.items():
            path, name = archive.with_suffix(suffix), _object_name(entry.version, suffix, file)
            with _ReportingFile(path, self._progress(path.name, file)) as content:
                is_new = self._storage.create(name, content, file.size)
            if not is_new and self._hash(name) != file.digest:
                raise RegistryError(
                    f"{self._storage.uri}/{name} is damaged: its SHA-256 is not the one in its name; delete it, then "
                    "publish again"
                )

    def _hash(self, name: str) -> str:
        digest = hashlib.sha256()
        for chunk in self._storage.read(name):
            digest.update(chunk)
        return digest.hexdigest()

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
        name = _entry_name(version)
        return decode_entry(b"".join(self._storage.read(name)), version, f"{self._storage.uri}/{name}")

    def _progress(self, what: str, file: File) -> Progress:
        return lambda num_done: self._report(what, num_done, file.size)


class _ReportingFile(io.FileIO):
    """A file that reports how far it was read."""

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__(path)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        content = super().read(size)
        self._progress(self.tell())
        return content


def _entry_name(version: str) -> str:
    return f"{MODEL}/{version}{_ENTRY_SUFFIX}"


def _object_name(version: str, suffix: str, file: File) -> str:
    return f"{MODEL}/{version}/{file.digest}{suffix}"


def _check_same(held: Entry, entry: Entry, uri: str) -> None:
    if held.digest != entry.digest:
        raise RegistryError(
            f"{uri} has {MODEL} {held.version} with the SHA-256 {held.digest}, this archive has {entry.digest}; a "
            "version never changes: build a new one, make archive VERSION=…"
        )
    if entry.signed and not held.signed:
        raise RegistryError(
            f"{uri} has {MODEL} {held.version} without a signature, and a version never changes; build a new one, "
            "signed: make archive VERSION=… SIGNING_KEY=…"
        )


def _check_free(archive: Path, digest: str) -> None:
    if archive.exists() and (found := hash_file(archive)) != digest:
        raise RegistryError(
            f"{archive} exists with the SHA-256 {found}, the registry's has {digest}; delete it, or fetch into another "
            "folder"
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
