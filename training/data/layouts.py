"""The layouts that a folder of photos can have, each read to a list of photos."""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path

from training.data.manifest import FILE_NAMES, check_existence, read_manifest
from training.data.photo_set import PHOTO_KINDS, SPLIT_NAMES, SPLITS, DataError, Photo

_LOG = logging.getLogger(__name__)


def list_folder(folder: Path) -> list[Photo]:
    """Return the photos of *folder*; raise `DataError`.

    The folder has a manifest, or the layout of the Grocery Store repository or of Food-101, or is
    an image folder: one folder for each label, optionally inside folders named train, val and test.
    """
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist; check its path (now in {Path.cwd()})")
    for name in FILE_NAMES:
        if (folder / name).is_file():
            return read_manifest(folder / name)
    for landmark, read in (("classes.csv", _read_grocery), ("meta/train.txt", _read_food101)):
        if (folder / landmark).is_file():
            try:
                photos = list(read(folder))
            except (LookupError, ValueError, OSError) as error:
                raise DataError(
                    f"{folder} has {landmark} but not the other files of its publisher ({error!r}); "
                    "fetch the set again, or write a labels.csv"
                ) from error
            check_existence(photos, folder / landmark)
            return photos
    return list(_read_image_folder(folder))


def _read_grocery(folder: Path) -> Iterator[Photo]:
    """Read the layout of github.com/marcusklasson/GroceryStoreDataset, its folder `dataset`."""
    _, *classes = csv.reader((folder / "classes.csv").read_text(encoding="utf-8-sig").splitlines())
    names = {label_id: (label, group) for label, label_id, group, *_ in classes}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for place, label_id, _ in csv.reader(lines, skipinitialspace=True):
            yield Photo(folder / place, *names[label_id], split)


def _read_food101(folder: Path) -> Iterator[Photo]:
    """Read the layout of the Food-101 archive, its folder `food-101`."""
    for split in ("train", "test"):
        for place in (folder / "meta" / f"{split}.txt").read_text(encoding="utf-8").split():
            label = place.partition("/")[0].replace("_", " ")
            yield Photo(folder / "images" / f"{place}.jpg", label, None, split)


def _read_image_folder(folder: Path) -> Iterator[Photo]:
    folders = _list_folders(folder)
    if not folders:
        raise DataError(
            f"{folder} has neither {' nor '.join(FILE_NAMES)} nor folders; "
            "put the photos of each label into a folder with the label's name"
        )
    splits = [SPLIT_NAMES.get(inner.name.lower(), "") for inner in folders]
    if any(splits) and not all(splits):
        others = ", ".join(inner.name for inner, split in zip(folders, splits, strict=True) if not split)
        raise DataError(
            f"{folder} mixes folders of splits with others ({others}); a split folder has one folder for each label"
        )
    for inner, split in zip(folders, splits, strict=True):
        for label_folder in _list_folders(inner) if split else [inner]:
            yield from _read_label_folder(label_folder, split)


def _read_label_folder(folder: Path, split: str) -> list[Photo]:
    visible = [path for path in sorted(folder.rglob("*")) if "/." not in f"/{path.relative_to(folder).as_posix()}"]
    photos = [Photo(path, folder.name, None, split) for path in visible if path.is_file()]
    _warn_ignored("are broken links", [path for path in visible if not path.exists()])
    # rglob does not follow them, and a link to a parent would never end.
    _warn_ignored("are links to folders", [path for path in visible if path.is_symlink() and path.is_dir()])
    # A label may be absent from val and test, but not from train.
    if not photos and split in ("", "train"):
        raise DataError(f"the label folder {folder} is empty; put photos into it or remove it")
    return photos


def _list_folders(folder: Path) -> list[Path]:
    """Return the visible folders in *folder*; warn of photos beside them, which have no label."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path for path in visible if path.is_dir()]
    if folders:
        photos = [path for path in visible if path.suffix.lower().lstrip(".") in PHOTO_KINDS and path not in folders]
        _warn_ignored("lie beside the label folders", photos)
    return folders


def _warn_ignored(reason: str, paths: list[Path]) -> None:
    if paths:
        _LOG.warning("%d path(s) %s and are ignored, the first is %s", len(paths), reason, paths[0])
