"""The labels of a source, and whether a model can learn them."""

import unicodedata
from collections.abc import Collection, Sequence

from training.data.photo_set import DataError, Photo

_NUM_NAMED = 5


def check_names(listed: Sequence[Photo]) -> None:
    """Raise `DataError` for a name that is not Unicode, which JSON cannot hold, and for two spellings of one label."""
    for photo in listed:
        try:
            f"{photo.path}{photo.label}".encode()
        except UnicodeEncodeError:
            shown = f"{photo.path}".encode(errors="replace").decode()
            raise DataError(f"the name of {shown} is not UTF-8; rename the file or its folder") from None
    spellings: dict[str, str] = {}
    for label in sorted({photo.label for photo in listed}):
        other = spellings.setdefault(fold(label), label)
        if other != label:
            raise DataError(f"the labels {other!a} and {label!a} are two spellings of one; use one of them")


def fold(label: str) -> str:
    """Return what all spellings of *label* have in common."""
    return unicodedata.normalize("NFC", label).casefold()


def check_labels(source: str, listed: Sequence[Photo], usable: Sequence[Photo]) -> None:
    """Raise `DataError` unless every label *listed* can be learned from the photos that are *usable*, and evaluated."""
    labels = {photo.label for photo in usable}
    lost = {photo.label for photo in listed} - labels
    not_learned = labels - {photo.label for photo in usable if photo.split == "train"}
    places = {f"{photo.label} in {photo.split}" for photo in usable if photo.label in not_learned}
    refusals = {
        f"no usable photo among {len(listed):,} files; see the reasons above": not usable,
        f"no photo of {list_labels(lost)} is usable; see the reasons above, replace or remove them": lost,
        f"it has one label, {list_labels(labels)}, a classifier needs two; add photos of another": len(labels) < 2,
        f"train lacks {len(not_learned):,} of {len(labels):,} labels ({list_labels(places)}); "
        "move some of their photos to train or remove them all": not_learned,
        "it leaves no photo for val, which the model is evaluated on; give at least one label two photos "
        "that are not copies of each other or of test photos": all(photo.split != "val" for photo in usable),
    }
    for reason, refused in refusals.items():
        if refused:
            raise DataError(f"{source}: {reason}")


def check_known(source: str, listed: Sequence[Photo], labels: Collection[str]) -> None:
    """Raise `DataError` if a label *listed* is not one of *labels*."""
    if unknown := {photo.label for photo in listed} - set(labels):
        raise DataError(
            f"{source} has {len(unknown):,} labels that the model does not know ({list_labels(unknown)}); "
            "remove their photos, or train with them"
        )


def find_groups(source: str, usable: Sequence[Photo], labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the coarse label of each of *labels*, or None if no label has one; raise `DataError`."""
    groups: dict[str, str | None] = {}
    for photo in usable:
        first = groups.setdefault(photo.label, photo.group)
        if first != photo.group:
            raise DataError(
                f"{source}: label {photo.label!r} has two coarse labels, {first!r} and {photo.group!r}; give it one"
            )
    named = tuple(group for label in labels if (group := groups[label]) is not None)
    if named and len(named) < len(labels):
        without = list_labels([label for label in labels if groups[label] is None])
        raise DataError(f"{source}: {without} have no coarse label, others have; fill in coarse_label or leave it out")
    return named or None


def list_labels(labels: Collection[str]) -> str:
    """Return the first of *labels* as text, and how many more there are."""
    first = ", ".join(sorted(labels)[:_NUM_NAMED])
    return first if len(labels) <= _NUM_NAMED else f"{first} and {len(labels) - _NUM_NAMED:,} more"
