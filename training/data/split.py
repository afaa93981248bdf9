"""Which photos the model learns from and which ones it is evaluated on."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from training.data.inspection import Inspected
from training.data.photo_set import SPLITS, DataError, SkippedPhoto

Sorted = tuple[list[Inspected], list[SkippedPhoto]]
"""What is kept, and what is skipped."""


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
    digests: dict[str, set[str]] = defaultdict(set)
    for item in placed:
        if item.photo.split == "train":
            digests[item.photo.label].add(item.digest)
    chosen = {(label, digest) for label in digests for digest in _choose_val(digests[label], seed, val_share)}
    return [
        place(item, "val") if item.photo.split == "train" and (item.photo.label, item.digest) in chosen else item
        for item in placed
    ]


def place(item: Inspected, split: str) -> Inspected:
    """Return *item* with its photo in *split*."""
    return item._replace(photo=replace(item.photo, split=split))


def skip_copies(inspected: Sequence[Inspected]) -> Sorted:
    """Skip files that are in two splits, except in the last one (order: train, val, test)."""
    last = {item.digest: item.photo for item in sorted(inspected, key=lambda item: SPLITS.index(item.photo.split))}

    def find_reason(item: Inspected) -> str | None:
        twin = last[item.digest]
        return None if item.photo.split == twin.split else f"the same file is in {twin.split}: {twin.path}"

    return skip(inspected, find_reason)


def skip_contradictions(inspected: Sequence[Inspected]) -> Sorted:
    """Skip equal files that have different labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    for item in inspected:
        labels[item.digest].add(item.photo.label)

    def find_reason(item: Inspected) -> str | None:
        names = sorted(labels[item.digest])
        return f"equal files have different labels: {', '.join(names)}" if len(names) > 1 else None

    return skip(inspected, find_reason)


def skip(inspected: Sequence[Inspected], find_reason: Callable[[Inspected], str | None]) -> Sorted:
    """Skip what *find_reason* gives a reason for."""
    reasons = [(item, find_reason(item)) for item in inspected]
    kept = [item for item, reason in reasons if reason is None]
    return kept, [SkippedPhoto(item.photo.path, reason) for item, reason in reasons if reason is not None]


def _choose_val(digests: Collection[str], seed: int, val_share: float) -> list[str]:
    # Half up: round() would make 2.5 to 2.
    num_val = min(max(1, math.floor(len(digests) * val_share + 0.5)), len(digests) - 1)
    return sorted(digests, key=lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).digest())[:num_val]
