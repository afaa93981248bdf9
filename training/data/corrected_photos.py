"""Photos that people corrected, beside those of a source: always in train, never like a photo of val or test."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.data.duplicates import MAX_DIFFERENT_BITS, find_similar
from training.data.inspection import TRAINING_LIMITS, Inspected, inspect_photos
from training.data.labels import fold
from training.data.manifest import FILE_NAMES, read_manifest
from training.data.photo_set import DataError, Photo
from training.data.split import Sorted, skip, skip_contradictions

MIN_PHOTOS = 5
"""Of a label that the source lacks: of fewer, one typing error would be a label of the next version."""


def add_corrections(usable: Sequence[Inspected], folder: Path, cache: Path) -> Sorted:
    """Return the photos of a source, *usable*, with the corrections of *folder*, and what is left out.

    Where a correction is of a train photo, it takes its place; the manifest's test split is held out. Raises
    `DataError`.
    """
    listed = _list_corrections(folder, [item.photo for item in usable])
    held_out = {photo.path.stem for photo in listed if photo.split != "train"}
    listed = [photo for photo in listed if photo.split == "train"]
    corrected, skipped = skip(inspect_photos(listed, cache, TRAINING_LIMITS), lambda item: item.problem)
    corrected, contradictions = skip_contradictions(corrected)
    corrected, evaluated = _skip_evaluated(corrected, usable)
    corrected, rare = _skip_rare(corrected, {item.photo.label for item in usable})
    digests = held_out | {_sent_digest(item) for item in corrected}

    def find_reason(item: Inspected) -> str | None:
        is_corrected = item.photo.split == "train" and item.digest in digests
        return "there is a correction of the same photo, which is learned or held out" if is_corrected else None

    kept, replaced = skip(usable, find_reason)
    return kept + corrected, skipped + contradictions + evaluated + rare + replaced


def _list_corrections(folder: Path, photos: Sequence[Photo]) -> list[Photo]:
    """Return the corrections, with the spelling and the coarse labels of *photos*."""
    if not (folder / FILE_NAMES[0]).exists():
        raise DataError(f"{folder} has no {FILE_NAMES[0]}; `make corrections CORRECTIONS={folder}` writes it")
    groups = {photo.label: photo.group for photo in photos}
    spellings = {fold(label): label for label in groups}
    listed = []
    for photo in read_manifest(folder / FILE_NAMES[0]):
        label = spellings.setdefault(fold(photo.label), photo.label)
        # A new label is a group of its own.
        group = groups.get(label, label if any(groups.values()) else None)
        listed.append(replace(photo, label=label, group=group))
    return listed


def _skip_evaluated(corrected: Sequence[Inspected], usable: Sequence[Inspected]) -> Sorted:
    """Skip what equals or resembles a photo of val or test, whose figures it would flatter."""
    evaluated = [item for item in usable if item.photo.split != "train"]
    equal = {item.digest: item.photo for item in evaluated}
    twins = {}
    for later, earlier in find_similar([item.fingerprint for item in (*evaluated, *corrected)], MAX_DIFFERENT_BITS):
        if earlier < len(evaluated) <= later:
            twins[corrected[later - len(evaluated)].photo] = evaluated[earlier].photo

    def find_reason(item: Inspected) -> str | None:
        twin = equal.get(_sent_digest(item)) or twins.get(item.photo)
        return f"it is, or resembles, a photo of {twin.split}: {twin.path}" if twin else None

    return skip(corrected, find_reason)


def _skip_rare(corrected: Sequence[Inspected], known: set[str]) -> Sorted:
    """Skip labels that are not *known* and have too few photos."""
    counts = Counter(item.photo.label for item in corrected)

    def find_reason(item: Inspected) -> str | None:
        label, count = item.photo.label, counts[item.photo.label]
        few = label not in known and count < MIN_PHOTOS
        return f"the label {label!r} is new and has {count} photos, it needs {MIN_PHOTOS}" if few else None

    return skip(corrected, find_reason)


def _sent_digest(item: Inspected) -> str:
    """Return the SHA-256 of the photo as it was sent, with its metadata: the file's name."""
    return item.photo.path.stem
