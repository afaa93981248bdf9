"""The shapes a folder of photos comes in, each read to the files it lists."""

import csv
from collections.abc import Callable
from pathlib import Path

from training.data import manifest
from training.data.manifest import check_existence, read_manifest
from training.data.photos import SPLITS, DataError, LabelledFile

_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def list_folder(folder: Path) -> list[LabelledFile]:
    """Return the labelled files of *folder*, whichever shape it has; raise `DataError`.

    A folder has a manifest, or the shape of the Grocery Store repository or of Food-101, or is an
    image folder: one folder a label, below folders named train, val, test where it is split.
    """
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist; check its path (now in {Path.cwd()})")
    for name in manifest.FILE_NAMES:
        if (folder / name).is_file():
            return read_manifest(folder / name)
    for landmark, read in _SHAPES.items():
        if (folder / landmark).is_file():
            try:
                files = read(folder)
            except (LookupError, ValueError, OSError) as error:
                raise DataError(
                    f"{folder} has {landmark} but not the rest of what its publisher made ({error!r}); "
                    "fetch the set again, or write a labels.csv"
                ) from error
            check_existence(files, folder / landmark)
            return files
    return _read_image_folder(folder)


def _read_grocery(folder: Path) -> list[LabelledFile]:
    """Read the layout of github.com/marcusklasson/GroceryStoreDataset, its folder `dataset`."""
    _, *classes = csv.reader((folder / "classes.csv").read_text(encoding="utf-8-sig").splitlines())
    names = {label_id: (label, group) for label, label_id, group, *_ in classes}
    files = []
    for split in SPLITS:
        path = folder / f"{split}.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for place, label_id, _ in csv.reader(lines, skipinitialspace=True):
            files.append(LabelledFile(folder / place, *names[label_id], split))
    return files


def _read_food101(folder: Path) -> list[LabelledFile]:
    """Read the layout of the Food-101 archive, its folder `food-101`."""
    files = []
    for split in ("train", "test"):
        for place in (folder / "meta" / f"{split}.txt").read_text(encoding="utf-8").split():
            label = place.partition("/")[0].replace("_", " ")
            files.append(LabelledFile(folder / "images" / f"{place}.jpg", label, None, split))
    return files


_SHAPES: dict[str, Callable[[Path], list[LabelledFile]]] = {
    "classes.csv": _read_grocery,
    "meta/train.txt": _read_food101,
}


def _read_image_folder(folder: Path) -> list[LabelledFile]:
    folders = _visible_folders(folder)
    if not folders:
        raise DataError(
            f"{folder} holds neither {' nor '.join(manifest.FILE_NAMES)} nor folders; "
            "put each label's photos into a folder that bears its name"
        )
    others = [inner.name for inner in folders if inner.name.lower() not in _SPLIT_FOLDERS]
    if len(others) == len(folders):
        return _read_label_folders(folders, split="")
    if others:
        raise DataError(
            f"{folder} mixes folders of splits with others ({', '.join(others)}); a split folder holds a folder a label"
        )
    files = []
    for inner in folders:
        files += _read_label_folders(_visible_folders(inner), _SPLIT_FOLDERS[inner.name.lower()])
    return files


def _read_label_folders(folders: list[Path], split: str) -> list[LabelledFile]:
    files = []
    for folder in folders:
        photos = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
        # In val and test a label may be absent; to learn it, it may not.
        if not photos and split in ("", "train"):
            raise DataError(f"the label folder {folder} is empty; put photos into it or remove it")
        files += [LabelledFile(path, folder.name, None, split) for path in photos]
    return files


def _is_hidden(path: Path, folder: Path) -> bool:
    """Whether *path*, or a folder on the way to it from *folder*, starts with a dot."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
