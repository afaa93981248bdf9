"""Which photos the model learns from and which ones it is evaluated on."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from training.data.inspection import Inspected
from training.data.photo_set import SPLITS, DataError, PhotoSet, SkippedPhoto

Sorted = tuple[list[Inspected], list[SkippedPhoto]]
"""What is kept, and what is skipped."""


def choose_splits(inspected: Sequence[Inspected], seed: int, val_share: float) -> list[Inspected]:
    """Return *inspected*, each photo in a split: the one that its source gave, or one chosen by *seed*.

    If the source has no val split, whole scenes of train become it: about *val_share* of each label's photos, at
    least one scene of a label that has two. The choice depends only on *seed* and the files' contents, and every label
    keeps train photos (scikit-learn's StratifiedGroupKFold may take them all). Raises `DataError`.
    """
    if not 0 < val_share < 1:
        raise DataError(
            f"val_share is {val_share}, it must lie between 0 and 1; 0.1 keeps a tenth of each label's photos for val"
        )
    placed = [place(item, item.photo.split or "train") for item in inspected]
    if any(item.photo.split == "val" for item in placed):
        return placed
    train = [item for item in placed if item.photo.split == "train"]
    chosen = _choose_scenes(_count_files(train), _order_scenes(train, seed), val_share)
    return [
        place(item, "val") if item.photo.split == "train" and _scene_of(item) in chosen else item for item in placed
    ]


def learn_half_of_val(photo_set: PhotoSet, seed: int) -> PhotoSet:
    """Return *photo_set* with half of the scenes of val, chosen by *seed*, in train; the other half stays in val."""
    scenes = sorted({photo.scene or photo.digest for photo in photo_set.of("val")})
    learned = set(np.random.default_rng(seed).permutation(scenes)[: len(scenes) // 2].tolist())
    photos = (
        replace(photo, split="train") if photo.split == "val" and (photo.scene or photo.digest) in learned else photo
        for photo in photo_set.photos
    )
    return replace(photo_set, photos=tuple(photos))


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


def _scene_of(item: Inspected) -> str:
    return item.photo.scene or item.digest


def _count_files(train: Sequence[Inspected]) -> dict[str, Counter[str]]:
    """Return for each label its number of different files in each scene."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label, scene, _ in {(item.photo.label, _scene_of(item), item.digest) for item in train}:
        counts[label][scene] += 1
    return counts


def _order_scenes(train: Sequence[Inspected], seed: int) -> list[str]:
    """Return the scenes in an order that looks random and depends only on *seed* and the files' contents."""
    digests: dict[str, str] = {}
    for item in train:
        scene = _scene_of(item)
        digests[scene] = min(item.digest, digests.get(scene, item.digest))
    return sorted(digests, key=lambda scene: hashlib.sha256(f"{seed} {digests[scene]}".encode()).digest())


def _choose_scenes(counts: Mapping[str, Counter[str]], order: Sequence[str], val_share: float) -> set[str]:
    """Return the scenes of *order* that become val, by *counts* (of files, for each label and scene)."""
    chosen: set[str] = set()

    def leaves_train(scene: str) -> bool:
        return all(own.keys() - chosen - {scene} for own in counts.values() if scene in own)

    for label in sorted(counts):
        own, candidates = counts[label], [scene for scene in order if scene in counts[label]]
        # Half up: round() would make 2.5 to 2.
        target = max(1, math.floor(own.total() * val_share + 0.5))
        in_val = sum(own[scene] for scene in chosen)
        for scene in candidates:
            # Not where it would miss the target by more than without it.
            if scene not in chosen and own[scene] < 2 * (target - in_val) and leaves_train(scene):
                chosen.add(scene)
                in_val += own[scene]
        if not in_val:
            chosen.update(sorted(filter(leaves_train, candidates), key=lambda scene: own[scene])[:1])
    return chosen
