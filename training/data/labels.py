"""The labels of a source, and whether a model can learn them."""

from collections.abc import Collection, Sequence

from training.data.photos import DataError, LabelledFile

_NUM_NAMED = 5


def check_labels(source: str, listed: Sequence[LabelledFile], usable: Sequence[LabelledFile]) -> None:
    """Raise `DataError` unless every label *listed* can be learned from the files that are *usable*."""
    check_any(source, listed, usable)
    labels = {file.label for file in usable}
    lost = {file.label for file in listed} - labels
    if lost:
        raise DataError(f"{source}: no photo of {_name(lost)} is usable; see the reasons above, replace or remove them")
    if len(labels) < 2:
        raise DataError(f"{source} has one label, {_name(labels)}, a classifier needs two; add photos of another")
    learned = {file.label for file in usable if file.split == "train"}
    if labels - learned:
        where = {f"{file.label} in {file.split}" for file in usable if file.label not in learned}
        raise DataError(
            f"{source}: train lacks {len(labels - learned):,} of {len(labels):,} labels ({_name(where)}); "
            "move some of their photos to train or remove them all"
        )


def check_val(source: str, usable: Sequence[LabelledFile]) -> None:
    """Raise `DataError` if there is nothing to judge by."""
    if not any(file.split == "val" for file in usable):
        raise DataError(
            f"{source} leaves no photo for val, which the model is judged by; give at least one label two photos that "
            "are not copies of each other or of test photos"
        )


def check_names(listed: Sequence[LabelledFile]) -> None:
    """Raise `DataError` for a name that is not Unicode: no report or JSON could hold it."""
    for file in listed:
        try:
            f"{file.path}{file.label}".encode()
        except UnicodeEncodeError:
            shown = f"{file.path}".encode(errors="replace").decode()
            raise DataError(f"the name of {shown} is not UTF-8; rename the file or its folder") from None


def check_any(source: str, listed: Sequence[LabelledFile], usable: Sequence[LabelledFile]) -> None:
    """Raise `DataError` if nothing is *usable*."""
    if not usable:
        raise DataError(f"{source} has no usable photo among {len(listed):,} files; see the reasons above")


def check_known(source: str, listed: Sequence[LabelledFile], labels: Collection[str]) -> None:
    """Raise `DataError` if a label *listed* is not one of *labels*."""
    unknown = {file.label for file in listed} - set(labels)
    if unknown:
        raise DataError(
            f"{source} has {len(unknown):,} labels that the model does not know ({_name(unknown)}); "
            "remove their photos, or train with them"
        )


def find_groups(source: str, usable: Sequence[LabelledFile], labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the coarse label of each of *labels*, or None where none has one; raise `DataError`."""
    groups: dict[str, str | None] = {}
    for file in usable:
        if groups.setdefault(file.label, file.group) != file.group:
            raise DataError(
                f"{source}: label {file.label!r} has two coarse labels, {groups[file.label]!r} and {file.group!r}; "
                "give it one"
            )
    named = tuple(group for label in labels if (group := groups[label]) is not None)
    if named and len(named) < len(labels):
        without = [label for label in labels if groups[label] is None]
        raise DataError(
            f"{source}: {_name(without)} have no coarse label but others have; fill in coarse_label or leave it out"
        )
    return named or None


def _name(labels: Collection[str]) -> str:
    first = ", ".join(sorted(labels)[:_NUM_NAMED])
    return first if len(labels) <= _NUM_NAMED else f"{first} and {len(labels) - _NUM_NAMED:,} more"
