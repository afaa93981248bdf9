"""Photos that people corrected, beside those of a source: always in train, never like one that evaluates."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.data.duplicates import MAX_DIFFERENT_BITS, find_similar
from training.data.labels import fold
from training.data.manifest import FILE_NAMES, read_manifest
from training.data.photo_set import DataError, Photo, Sorted
from training.data.split import find_usable, skip

MIN_PHOTOS = 5
"""Of a label that the source lacks: of fewer, one typing error would be a label of the next version."""


def add_corrections(usable: Sequence[Photo], folder: Path, cache: Path) -> Sorted:
    """Return the photos of a source, *usable*, with the corrections of *folder*, and what is left out.

    Where a correction is of a train photo, it takes its place; the manifest's test split is held out. Raises
    `DataError`.
    """
    listed = _list_corrections(folder, usable)
    held_out = {_sent_digest(photo) for photo in listed if photo.split != "train"}
    inspected, skipped = find_usable(listed, cache)
    corrected = [photo for photo in inspected if photo.split == "train"]
    corrected, evaluated = _skip_evaluated(corrected, [*usable, *inspected])
    corrected, rare = _skip_rare(corrected, {photo.label for photo in usable})
    digests = held_out | {_sent_digest(photo) for photo in corrected}

    def find_reason(photo: Photo) -> str | None:
        is_corrected = photo.split == "train" and photo.digest in digests
        return "there is a correction of the same photo, which is learned or held out" if is_corrected else None

    kept, replaced = skip(usable, find_reason)
    return kept + corrected, skipped + evaluated + rare + replaced


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


def _skip_evaluated(corrected: Sequence[Photo], others: Sequence[Photo]) -> Sorted:
    """Skip what equals or resembles one of *others* in val or test, whose figures it would raise."""
    evaluated = [photo for photo in others if photo.split != "train"]
    equal = {photo.digest: photo for photo in evaluated}
    twins = {}
    for pairs_P2 in find_similar([*evaluated, *corrected], MAX_DIFFERENT_BITS):
        for later, earlier in pairs_P2.tolist():
            if earlier < len(evaluated) <= later:
                twins[corrected[later - len(evaluated)]] = evaluated[earlier]

    def find_reason(photo: Photo) -> str | None:
        twin = equal.get(_sent_digest(photo)) or twins.get(photo)
        return f"it is, or resembles, a photo of {twin.split}: {twin.path}" if twin else None

    return skip(corrected, find_reason)


def _skip_rare(corrected: Sequence[Photo], known: set[str]) -> Sorted:
    """Skip labels that are not *known* and have too few photos."""
    counts = Counter(photo.label for photo in corrected)

    def find_reason(photo: Photo) -> str | None:
        label, count = photo.label, counts[photo.label]
        few = label not in known and count < MIN_PHOTOS
        return f"the label {label!r} is new and has {count} photos, it needs {MIN_PHOTOS}" if few else None

    return skip(corrected, find_reason)


def _sent_digest(correction: Photo) -> str:
    """Return the SHA-256 of the photo as it was sent, with its metadata: the file's name."""
    return correction.path.stem
