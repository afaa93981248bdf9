"""Which photos are learned from and which are kept to judge by."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from training.data.inspection import Inspected
from training.data.photos import SPLITS, DataError, SkippedPhoto


def choose_splits(inspected: Sequence[Inspected], seed: int, val_share: float) -> list[Inspected]:
    """Return *inspected*, each file in a split: the one its source gave, else one chosen by *seed*.

    Where the source gave no val split, a share of each label's train photos becomes it, at least
    one where the label has two. The choice depends on *seed* and the files' contents alone, and
    equal files stay together. Raises `DataError`.
    """
    if not 0 < val_share < 1:
        raise DataError(
            f"val_share is {val_share}, it must lie between 0 and 1; 0.1 keeps a tenth of each label's photos for val"
        )
    placed = [place(item, item.file.split or "train") for item in inspected]
    if any(item.file.split == "val" for item in placed):
        return placed
    kept = _choose_val(placed, seed, val_share)
    return [place(item, "val") if _key(item) in kept else item for item in placed]


def set_copies_aside(inspected: Sequence[Inspected]) -> tuple[list[Inspected], list[SkippedPhoto]]:
    """Return *inspected* with no file in two splits, and the copies left out.

    What is learned from gives way to what is judged by: train to val, val to test.
    """
    last: dict[str, Inspected] = {}
    for item in sorted(inspected, key=_rank):
        last[item.digest] = item
    kept, copies = [], []
    for item in inspected:
        twin = last[item.digest]
        if _rank(item) == _rank(twin):
            kept.append(item)
        else:
            copies.append(SkippedPhoto(item.file.path, f"the same file is in {twin.file.split}: {twin.file.path}"))
    return kept, copies


def place(item: Inspected, split: str) -> Inspected:
    """Return *item* with its file in *split*."""
    return replace(item, file=replace(item.file, split=split))


def _choose_val(inspected: Sequence[Inspected], seed: int, val_share: float) -> set[tuple[str, str, str]]:
    by_label: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for item in inspected:
        if item.file.split == "train":
            by_label[item.file.label].add(_key(item))
    kept: set[tuple[str, str, str]] = set()
    for keys in by_label.values():
        # Half up: round() would take 2.5 to 2.
        num_val = min(max(1, math.floor(len(keys) * val_share + 0.5)), len(keys) - 1)
        kept.update(sorted(keys, key=lambda key: _draw(seed, key))[:num_val])
    return kept


def _key(item: Inspected) -> tuple[str, str, str]:
    return item.file.split, item.file.label, item.digest


def _draw(seed: int, key: tuple[str, str, str]) -> bytes:
    return hashlib.sha256(f"{seed} {key[2]}".encode()).digest()


def _rank(item: Inspected) -> int:
    return SPLITS.index(item.file.split)
