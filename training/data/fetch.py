"""Public data sets, downloaded and unpacked: `python -m training.data.fetch grocery --into data`."""

import argparse
import logging
import sys
import tarfile
import zlib
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pooch  # type: ignore[import-untyped]  # ships no types
from filelock import FileLock

from training.data.layouts import list_folder
from training.data.photo_set import DataError
from training.data.resuming_download import resume_download
from training.progress import track


class PublicSet(NamedTuple):
    url: str
    """A gzipped tar archive."""
    root: str
    """Pattern of the one folder in the archive that holds the photos."""
    digest: str | None = None
    """`algorithm:hex`, if its publisher or a library gives one; None for the archive of a branch, which changes."""
    licence: str | None = None
    """Of the photos, as their publisher states it."""


_GITHUB = "https://github.com/{}/archive/HEAD.tar.gz"

PUBLIC_SETS = {
    # 101 dishes x 1,000 photos, 5 GB. Bossard et al., ECCV 2014. The digest is torchvision's.
    "food101": PublicSet(
        "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "food-101", "md5:85eeb15f3717b99a5da872d97d918f87"
    ),
    # Fruit and vegetables on white, 100x100 pixels. M. Oltean. It still grows.
    "fruits360": PublicSet(
        _GITHUB.format("fruits-360/fruits-360-100x100"), "fruits-360-100x100-*", licence="CC BY-SA 4.0"
    ),
    # 81 groceries in 43 groups, photographed in shops. Klasson et al., WACV 2019.
    "grocery": PublicSet(
        _GITHUB.format("marcusklasson/GroceryStoreDataset"), "GroceryStoreDataset-*/dataset", licence="MIT"
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.data.fetch", description="Download a public data set.")
    parser.add_argument("name", choices=sorted(PUBLIC_SETS))
    parser.add_argument("--into", type=Path, default=Path("data"), help="the set becomes the folder NAME in it")
    arguments = parser.parse_args()
    try:
        folder = fetch_set(arguments.name, arguments.into)
    except DataError as error:
        parser.exit(1, f"{error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "stopped; run the same command again, it continues from here\n")
    sys.stdout.write(f"{folder} holds {len(list_folder(folder)):,} photos\n")
    return 0


def fetch_set(name: str, into: Path) -> Path:
    """Return the folder *into*/*name*, downloaded if it does not exist; it appears once it is complete.

    Raises `DataError`, also if the archive does not have the digest that is known of it.
    """
    folder, archive_path, public = into / name, into / f".{name}.tar.gz", PUBLIC_SETS[name]
    try:
        into.mkdir(parents=True, exist_ok=True)
        # The processes of a distributed run call this at the same time.
        with FileLock(into / f".{name}.lock"):
            if not folder.exists():
                _download(public, archive_path)
                _unpack(archive_path, public.root, folder)
    except OSError as error:
        raise DataError(
            f"{error.filename or into} cannot be written ({error.strerror}); free some space or check the permissions "
            "and run the same command again, it continues the download"
        ) from error
    return folder


def _download(public: PublicSet, archive_path: Path) -> None:
    download = partial(resume_download, part_path=archive_path.with_name(f"{archive_path.name}.part"))
    # Its log repeats in several lines what the progress shows.
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(public.url, public.digest, archive_path.name, archive_path.parent, downloader=download)
    except ValueError as error:
        raise DataError(f"{public.url} is not the archive that was published: {error}; download it again") from error


def _unpack(archive_path: Path, root: str, folder: Path) -> None:
    """Unpack the folder *root* of the archive to *folder*, and delete the archive."""
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        try:
            with tarfile.open(archive_path, "r|gz") as archive:
                # The filter refuses paths and links that lead outside, and devices. pooch's Untar has none on 3.11.
                members = track(archive, f"Unpacking {folder.name}", "files")
                archive.extractall(temporary, members, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            archive_path.unlink()
            raise DataError(
                f"the archive of {folder.name} cannot be unpacked ({error}) and is deleted; download it again"
            ) from error
        archive_path.unlink()
        found = list(Path(temporary).glob(root))
        if len(found) != 1:
            raise DataError(f"the archive of {folder.name} has {len(found)} folders {root}, it must have one")
        list_folder(found[0])
        found[0].rename(folder)


if __name__ == "__main__":
    sys.exit(main())
