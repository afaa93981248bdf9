"""Which photos the model learns from and which ones it is evaluated on."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from training.data.inspection import inspect_photos
from training.data.photo_set import SPLITS, DataError, Photo, PhotoSet, SkippedPhoto, Sorted


def find_usable(listed: Sequence[Photo], cache: Path) -> Sorted:
    """Return the photos *listed*, inspected, without what cannot be used or has two labels; raise `DataError`."""
    usable, unusable = inspect_photos(listed, cache)
    usable, contradictions = skip_contradictions(usable)
    return usable, unusable + contradictions


def choose_splits(photos: Sequence[Photo], seed: int, val_share: float) -> list[Photo]:
    """Return *photos*, each in a split: the one that its source gave, or one chosen by *seed*.

    If the source has no val split, whole scenes of train become it: about *val_share* of each label's photos, at
    least one scene of a label that has two. The choice depends only on *seed* and the files' contents, and every label
    keeps train photos (scikit-learn's StratifiedGroupKFold may take them all). Raises `DataError`.
    """
    if not 0 < val_share < 1:
        raise DataError(
            f"val_share is {val_share}, it must lie between 0 and 1; 0.1 keeps a tenth of each label's photos for val"
        )
    placed = [replace(photo, split=photo.split or "train") for photo in photos]
    if any(photo.split == "val" for photo in placed):
        return placed
    train = [photo for photo in placed if photo.split == "train"]
    chosen = _choose_scenes(_count_files(train), _order_scenes(train, seed), val_share)
    return _move_scenes(placed, "train", "val", chosen)


def learn_half_of_val(photo_set: PhotoSet, seed: int) -> PhotoSet:
    """Return *photo_set* with half of the scenes of val, chosen by *seed*, in train; the other half stays in val."""
    scenes = sorted({_scene_of(photo) for photo in photo_set.of("val")})
    learned = set(np.random.default_rng(seed).permutation(scenes)[: len(scenes) // 2].tolist())
    return replace(photo_set, photos=tuple(_move_scenes(photo_set.photos, "val", "train", learned)))


def _move_scenes(photos: Sequence[Photo], split: str, to: str, scenes: Set[str]) -> list[Photo]:
    """Return *photos* with those of *split* that show one of *scenes* in the split *to*."""
    return [
        replace(photo, split=to) if photo.split == split and _scene_of(photo) in scenes else photo for photo in photos
    ]


def skip_copies(photos: Sequence[Photo]) -> Sorted:
    """Skip files that are in two splits, except in the last one (order: train, val, test)."""
    last = {photo.digest: photo for photo in sorted(photos, key=lambda photo: SPLITS.index(photo.split))}

    def find_reason(photo: Photo) -> str | None:
        twin = last[photo.digest]
        return None if photo.split == twin.split else f"the same file is in {twin.split}: {twin.path}"

    return skip(photos, find_reason)


def skip_contradictions(photos: Sequence[Photo]) -> Sorted:
    """Skip equal files that have different labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        labels[photo.digest].add(photo.label)

    def find_reason(photo: Photo) -> str | None:
        names = sorted(labels[photo.digest])
        return f"equal files have different labels: {', '.join(names)}" if len(names) > 1 else None

    return skip(photos, find_reason)


def skip(photos: Sequence[Photo], find_reason: Callable[[Photo], str | None]) -> Sorted:
    """Skip what *find_reason* gives a reason for."""
    reasons = [(photo, find_reason(photo)) for photo in photos]
    kept = [photo for photo, reason in reasons if reason is None]
    return kept, [SkippedPhoto(photo.path, reason) for photo, reason in reasons if reason is not None]


def _scene_of(photo: Photo) -> str:
    return photo.scene or photo.digest


def _count_files(train: Sequence[Photo]) -> dict[str, Counter[str]]:
    """Return for each label its number of different files in each scene."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label, scene, _ in {(photo.label, _scene_of(photo), photo.digest) for photo in train}:
        counts[label][scene] += 1
    return counts


def _order_scenes(train: Sequence[Photo], seed: int) -> list[str]:
    """Return the scenes in an order that looks random and depends only on *seed* and the files' contents."""
    digests: dict[str, str] = {}
    for photo in train:
        scene = _scene_of(photo)
        digests[scene] = min(photo.digest, digests.get(scene, photo.digest))
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
