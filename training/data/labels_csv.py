"""A source of photos as labels.csv, to be edited and trained from: `python -m training.data.labels_csv data/photos`.

It has the photos that training would use, with the splits and the scenes that training would choose.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from training.data.manifest import FILE_NAMES, write_manifest
from training.data.photo_set import DataError
from training.data.sources import load_photos


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write labels.csv into a folder of photos, with their splits.")
    parser.add_argument("folder", type=Path, help="one folder for each label, below train, val, test where it is split")
    parser.add_argument("--seed", type=int, default=0, help="chooses val where the folder has none, as data.seed")
    parser.add_argument("--val-share", type=float, default=0.1, help="of each label's photos, as data.val_share")
    parser.add_argument("--cache", type=Path, default=Path("data"), help="where results of the inspection are kept")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        path = write_labels(options.folder, options.cache, options.seed, options.val_share)
    except DataError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; nothing was written")
    sys.stdout.write(f"{path}\n")


def write_labels(folder: Path, cache: Path, seed: int = 0, val_share: float = 0.1) -> Path:
    """Return *folder*'s new labels.csv; raise `DataError`, also if it has a manifest already."""
    for name in FILE_NAMES:
        if (folder / name).exists():
            raise DataError(f"{folder / name} exists and is never overwritten; edit it, or move it away first")
    photos = load_photos(str(folder), cache=cache, seed=seed, val_share=val_share).photos
    path = folder / FILE_NAMES[0]
    try:
        write_manifest(path, photos)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); check the folder's permissions") from error
    return path


if __name__ == "__main__":
    main()
