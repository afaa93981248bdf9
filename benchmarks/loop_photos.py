"""The photos of the loop's story: ten labels of Grocery Store are unknown at first, and then come in."""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from benchmarks.grocery import GroceryPhoto, read_grocery

NUM_NEW = 10
NUM_KEPT = 3  # photos of each old label that no version learns from: val has none of 21 labels
NUM_CORRECTED = 10  # photos of each new label that people correct
# Of a label that comes later: enough for the corrections, and to measure on, also in other shops, which val has.
_MIN_TRAIN, _MIN_VAL = 25, 3


@dataclass(frozen=True)
class StoryPhotos:
    new_labels: tuple[str, ...]
    learned: Sequence[GroceryPhoto]  # train of the other 71 labels, but for `NUM_KEPT` of each
    val: Sequence[GroceryPhoto]  # val of the other 71 labels
    known: Sequence[GroceryPhoto]  # `val` and what was kept of train: both versions are measured on it
    world: Sequence[GroceryPhoto]  # the old world: photos of `known`, each label as often as in `learned`
    corrected: Sequence[GroceryPhoto]  # train photos of the new labels, which come in and are corrected
    measured: Sequence[GroceryPhoto]  # the other train photos of the new labels, which no version learns from
    measured_val: Sequence[GroceryPhoto]  # val of the new labels


def choose_photos(grocery: Path) -> StoryPhotos:
    """Return the story of the photos in the folder *grocery*, which has labels.csv; the same each time."""
    splits = read_grocery(grocery)
    train, val = splits["train"], splits["val"]
    shuffled = random.Random(0)  # noqa: S311, a benchmark repeats its choices
    often = sorted(label for label in train if len(train[label]) >= _MIN_TRAIN and len(val[label]) >= _MIN_VAL)
    new = tuple(sorted(shuffled.sample(often, NUM_NEW)))
    for label in sorted(train):
        shuffled.shuffle(train[label])
    known = {label: [*photos[:NUM_KEPT], *val[label]] for label, photos in train.items() if label not in new}
    learned = {label: train[label][NUM_KEPT:] for label in known}
    return StoryPhotos(
        new_labels=new,
        learned=_join(learned.values()),
        val=_join(val[label] for label in known),
        known=_join(known.values()),
        world=_join(list(islice(cycle(known[label]), len(learned[label]))) for label in known),
        corrected=_join(train[label][:NUM_CORRECTED] for label in new),
        measured=_join(train[label][NUM_CORRECTED:] for label in new),
        measured_val=_join(val[label] for label in new),
    )


def write_data(photos: StoryPhotos, path: Path) -> None:
    """Write the manifest of the data that the first version learns."""
    splits = {"train": photos.learned, "val": photos.val}
    rows = [(photo.path, photo.label, split) for split, some in splits.items() for photo in some]
    _write(path, ("file", "label", "split"), rows)


def write_corrections(folder: Path, answers: Iterable[tuple[GroceryPhoto, str]], version: str) -> Path:
    """Write what a person says of photos and the *answers* of *version* to them, with the photos beside it."""
    folder.mkdir()
    rows = []
    for photo, answer in answers:
        (folder / photo.path.name).write_bytes(photo.path.read_bytes())
        rows.append((photo.path.name, photo.label, "the benchmark", version, answer))
    path = folder / "corrections.csv"
    _write(path, ("photo", "label", "who", "version", "answer"), rows)
    return path


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([columns, *rows])


def _join(photos: Iterable[Sequence[GroceryPhoto]]) -> Sequence[GroceryPhoto]:
    return [photo for some in photos for photo in some]
