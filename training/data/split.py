"""Which photos the model learns from and which ones it is evaluated on."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from training.data.inspection import Inspected
from training.data.photo_set import SPLITS, DataError, SkippedPhoto


def choose_splits(inspected: Sequence[Inspected], seed: int, val_share: float) -> list[Inspected]:
    """Return *inspected*, each photo in a split: the one that its source gave, or one chosen by *seed*.

    If the source has no val split, a share of each label's train photos becomes it: at least one
    photo of a label that has two. The choice depends only on *seed* and the files' contents, and
    equal files stay together. Raises `DataError`.
    """
    if not 0 < val_share < 1:
        raise DataError(
            f"val_share is {val_share}, it must lie between 0 and 1; 0.1 keeps a tenth of each label's photos for val"
        )
    placed = [place(item, item.photo.split or "train") for item in inspected]
    if any(item.photo.split == "val" for item in placed):
        return placed
    chosen = _choose_val(placed, seed, val_share)
    return [place(item, "val") if _key(item) in chosen else item for item in placed]


def skip_copies(inspected: Sequence[Inspected]) -> tuple[list[Inspected], list[SkippedPhoto]]:
    """Return *inspected* with no file in two splits, and the skipped copies.

    Of equal files the one in the last split is kept (order: train, val, test).
    """
    last = {item.digest: item for item in sorted(inspected, key=_rank)}
    kept, copies = [], []
    for item in inspected:
        twin = last[item.digest].photo
        if item.photo.split == twin.split:
            kept.append(item)
        else:
            copies.append(SkippedPhoto(item.photo.path, f"the same file is in {twin.split}: {twin.path}"))
    return kept, copies


def skip_contradictions(inspected: Sequence[Inspected]) -> tuple[list[Inspected], list[SkippedPhoto]]:
    """Return *inspected* without files that are equal but have different labels, and those files."""
    labels: dict[str, set[str]] = defaultdict(set)
    for item in inspected:
        labels[item.digest].add(item.photo.label)
    kept = [item for item in inspected if len(labels[item.digest]) == 1]
    skipped = [
        SkippedPhoto(item.photo.path, f"equal files have different labels: {', '.join(sorted(labels[item.digest]))}")
        for item in inspected
        if len(labels[item.digest]) > 1
    ]
    return kept, skipped


def place(item: Inspected, split: str) -> Inspected:
    """Return *item* with its photo in *split*."""
    return replace(item, photo=replace(item.photo, split=split))


def _choose_val(inspected: Sequence[Inspected], seed: int, val_share: float) -> set[tuple[str, str, str]]:
    by_label: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for item in inspected:
        if item.photo.split == "train":
            by_label[item.photo.label].add(_key(item))
    chosen: set[tuple[str, str, str]] = set()
    for keys in by_label.values():
        # Half up: round() would make 2.5 to 2.
        num_val = min(max(1, math.floor(len(keys) * val_share + 0.5)), len(keys) - 1)
        chosen.update(sorted(keys, key=lambda key: _draw(seed, key))[:num_val])
    return chosen


def _key(item: Inspected) -> tuple[str, str, str]:
    return item.photo.split, item.photo.label, item.digest


def _draw(seed: int, key: tuple[str, str, str]) -> bytes:
    return hashlib.sha256(f"{seed} {key[2]}".encode()).digest()


def _rank(item: Inspected) -> int:
    return SPLITS.index(item.photo.split)
