"""A public data set, from its home to a folder: `python -m training.data.fetch grocery --into data`."""

import argparse
import hashlib
import json
import sys
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import rich.progress
from filelock import FileLock

from training.data.download import download_file
from training.data.layouts import list_folder
from training.data.photos import DataError
from training.data.public_sets import PUBLIC_SETS

LOCK_PATH = Path(__file__).with_name("fetch.lock.json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.data.fetch", description="Fetch a public data set.")
    parser.add_argument("name", choices=sorted(PUBLIC_SETS))
    parser.add_argument("--into", type=Path, default=Path("data"), help="folder that gets a folder NAME (%(default)s)")
    parser.add_argument("--url", help="a mirror that holds the same archive, byte for byte")
    parser.add_argument("--lock", type=Path, default=LOCK_PATH, help="digests seen on the first fetch (%(default)s)")
    arguments = parser.parse_args()
    try:
        folder = fetch_set(arguments.name, arguments.into, url=arguments.url, lock_path=arguments.lock)
    except DataError as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped; run the same command again, it goes on from here\n")
    sys.stdout.write(f"{folder} holds {len(list_folder(folder)):,} photos\n")
    return 0


def fetch_set(name: str, into: Path, *, url: str | None = None, lock_path: Path = LOCK_PATH) -> Path:
    """Return the folder *into*/*name*, fetched from its home or *url* unless it is there; raise `DataError`.

    The archive must have the digest that its publisher gave, and the one that *lock_path* recorded
    when it was first fetched; its photos become visible once all of them are there.
    """
    folder = into / name
    try:
        into.mkdir(parents=True, exist_ok=True)
        # The processes of a distributed run all ask at once.
        with FileLock(into / f".{name}.lock"):
            if not folder.exists():
                _fetch(name, folder, url or PUBLIC_SETS[name].url, lock_path)
    except OSError as error:
        raise DataError(
            f"{error.filename or into} cannot be written ({error.strerror}); free some space or check the permissions "
            "and run the same command again, what was fetched is kept"
        ) from error
    return folder


def _fetch(name: str, folder: Path, url: str, lock_path: Path) -> None:
    wanted = {"md5": PUBLIC_SETS[name].md5, "sha256": _read_lock(lock_path).get(name)}
    archive_path = folder.with_name(f".{name}.tar.gz")
    if not archive_path.exists():
        download_file(url, archive_path)
    try:
        sha256 = _verify(archive_path, wanted, lock_path)
        _unpack(archive_path, PUBLIC_SETS[name].root, folder)
    except DataError:
        archive_path.unlink()
        raise
    _record(name, sha256, lock_path)
    archive_path.unlink()


def _verify(archive_path: Path, wanted: Mapping[str, str | None], lock_path: Path) -> str:
    """Return the archive's SHA-256; raise `DataError` unless it has every digest *wanted*, by algorithm."""
    seen = {algorithm: _hash(archive_path, algorithm) for algorithm in wanted}
    for algorithm, digest in wanted.items():
        if digest is not None and digest != seen[algorithm]:
            raise DataError(
                f"what was fetched has the {algorithm} {seen[algorithm]}, it must have {digest}: it was changed or "
                f"damaged and is deleted; fetch it again, and if its publisher replaced it, update {lock_path}"
            )
    return seen["sha256"]


def _unpack(archive_path: Path, root: str, folder: Path) -> None:
    """Unpack the folder *root* of the archive to *folder*, which appears whole."""
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        try:
            with (
                rich.progress.open(archive_path, "rb", description="Unpacking", transient=True) as packed,
                tarfile.open(fileobj=packed, mode="r|gz") as archive,
            ):
                # The filter refuses what would be written outside, links that lead there, devices.
                archive.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(
                f"the archive of {folder.name} cannot be unpacked ({error}) and is deleted; fetch it again"
            ) from error
        found = sorted(Path(temporary).glob(root))
        if len(found) != 1:
            raise DataError(f"the archive of {folder.name} has {len(found)} folders {root}, it must have one")
        list_folder(found[0])
        found[0].rename(folder)


def _hash(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _read_lock(lock_path: Path) -> dict[str, str]:
    try:
        digests: dict[str, str] = json.loads(lock_path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{lock_path} is not JSON ({error}); restore it from version control") from error
    return digests


def _record(name: str, sha256: str, lock_path: Path) -> None:
    digests = _read_lock(lock_path) | {name: sha256}
    draft = lock_path.with_name(lock_path.name + ".part")
    draft.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")
    draft.replace(lock_path)


if __name__ == "__main__":
    sys.exit(main())
