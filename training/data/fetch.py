"""A public data set, downloaded and unpacked to a folder: `python -m training.data.fetch grocery --into data`."""

import argparse
import logging
import sys
import tarfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pooch  # type: ignore[import-untyped]  # ships no types
from filelock import FileLock

from training.data.layouts import list_folder
from training.data.photo_set import DataError
from training.data.public_sets import PUBLIC_SETS, PublicSet
from training.data.resuming_download import ResumingDownload
from training.progress import track


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.data.fetch", description="Download a public data set.")
    parser.add_argument("name", choices=sorted(PUBLIC_SETS))
    parser.add_argument("--into", type=Path, default=Path("data"), help="the set becomes the folder NAME in it")
    parser.add_argument("--url", help="address of a mirror that has the same archive")
    arguments = parser.parse_args()
    try:
        folder = fetch_set(arguments.name, arguments.into, url=arguments.url)
    except DataError as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped; run the same command again, it continues from here\n")
    sys.stdout.write(f"{folder} holds {len(list_folder(folder)):,} photos\n")
    return 0


def fetch_set(name: str, into: Path, *, url: str | None = None) -> Path:
    """Return the folder *into*/*name*; if it does not exist, download it from *url* or its publisher.

    The folder appears once it is complete. Raises `DataError`, also if the archive does not have
    the digest that is known of it.
    """
    folder = into / name
    try:
        into.mkdir(parents=True, exist_ok=True)
        # The processes of a distributed run call this at the same time.
        with FileLock(into / f".{name}.lock"):
            if not folder.exists():
                _fetch(PUBLIC_SETS[name], folder, url or PUBLIC_SETS[name].url)
    except OSError as error:
        raise DataError(
            f"{error.filename or into} cannot be written ({error.strerror}); free some space or check the permissions "
            "and run the same command again, it continues the download"
        ) from error
    return folder


def _fetch(public: PublicSet, folder: Path, url: str) -> None:
    archive_path = folder.with_name(f".{folder.name}.tar.gz")
    download = ResumingDownload(archive_path.with_name(f"{archive_path.name}.part"))
    # Its log repeats in several lines what the progress shows.
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(url, public.digest, archive_path.name, archive_path.parent, downloader=download)
    except ValueError as error:
        raise DataError(f"{url} is not the archive that was published: {error}; download it again") from error
    try:
        _unpack(archive_path, public.root, folder)
    except DataError:
        archive_path.unlink()
        raise
    archive_path.unlink()


def _unpack(archive_path: Path, root: str, folder: Path) -> None:
    """Unpack the folder *root* of the archive to *folder*, which appears once it is complete."""
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        try:
            with tarfile.open(archive_path, "r|gz") as archive:
                # The filter refuses paths and links that lead outside, and devices. pooch's Untar has none on 3.11.
                members = track(archive, f"Unpacking {folder.name}", "files")
                archive.extractall(temporary, members, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise DataError(
                f"the archive of {folder.name} cannot be unpacked ({error}) and is deleted; download it again"
            ) from error
        found = sorted(Path(temporary).glob(root))
        if len(found) != 1:
            raise DataError(f"the archive of {folder.name} has {len(found)} folders {root}, it must have one")
        list_folder(found[0])
        found[0].rename(folder)


if __name__ == "__main__":
    sys.exit(main())
