"""A source of photos as labels.csv, to be edited and trained from: `python -m training.data.labels_csv data/photos`.

With --out any source, also with corrections, becomes one manifest elsewhere: the data that a run learns from.

It has the photos that training would use, with the splits and the scenes that training would choose.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from training.data.manifest import FILE_NAMES, write_manifest
from training.data.photo_set import DataError, PhotoSet
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
        chosen = {name: getattr(options, name) for name in ("cache", "seed", "val_share", "corrections")}
        load = partial(load_photos, options.source, **chosen)
        path = write_labels(Path(options.source), options.out, load)
    except DataError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; nothing was written")
    sys.stdout.write(f"{path}\n")


def write_labels(folder: Path, out: Path | None, load: Callable[[], PhotoSet]) -> Path:
    """Return *folder*'s new labels.csv, or *out*, with what *load* returns; raise `DataError`.

    Without *out* also if *folder* has a manifest already.
    """
    for name in FILE_NAMES:
        if out is None and (folder / name).exists():
            raise DataError(f"{folder / name} exists and is never overwritten; edit it, or move it away first")
    photos = load().photos
    path = out or folder / FILE_NAMES[0]
    try:
        write_manifest(path, photos)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); check the folder's permissions") from error
    return path


if __name__ == "__main__":
    main()
