"""A source of photos as labels.csv, to be edited and trained from: `python -m training.data.labels_csv data/photos`.

It has the photos, splits and scenes that training would use. With --out any source, also with corrections, becomes one
manifest elsewhere: the data that a run learns from.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.data.manifest import FILE_NAMES, write_manifest
from training.data.photo_set import DataError
from training.data.sources import load_photos


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write labels.csv into a folder of photos, with their splits.")
    parser.add_argument("source", help="a folder; with --out any source that training reads")
    parser.add_argument("--out", type=Path, help="write the manifest to this file instead, with absolute paths")
    parser.add_argument("--corrections", type=Path, help="a folder of make corrections, as data.corrections")
    parser.add_argument("--seed", type=int, default=0, help="chooses val where the folder has none, as data.seed")
    parser.add_argument("--val-share", type=float, default=0.1, help="of each label's photos, as data.val_share")
    parser.add_argument("--cache", type=Path, default=Path("data"), help="where results of the inspection are kept")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(message)s")
    try:
        path = write_labels(**vars(options))
    except DataError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; nothing was written")
    sys.stdout.write(f"{path}\n")


def write_labels(source: str, out: Path | None, **chosen: Any) -> Path:
    """Return the new labels.csv of the folder *source*, or *out*, with what `load_photos` returns; raise `DataError`.

    Without *out* also if the folder has a manifest already.
    """
    for name in FILE_NAMES:
        if out is None and (Path(source) / name).exists():
            raise DataError(f"{Path(source) / name} exists and is never overwritten; edit it, or move it away first")
    photos = load_photos(source, **chosen).photos
    path = out or Path(source) / FILE_NAMES[0]
    try:
        write_manifest(path, photos)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); check the folder's permissions") from error
    return path


if __name__ == "__main__":
    main()
