"""Which labels go and come with a new version, and which of them both versions know."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec.yaml

from model_archive.identity import version_order
from serving.management import Server
from serving.model_store import Archive
from serving.rollout.record import Journal, RolloutError
from serving.rollout.thresholds import THRESHOLDS, Figure, Thresholds, check

LabelMap = Mapping[str, str | list[str]]
"""From a label of the old version to those of the new one that mean the same; an empty list is none."""

_MAX_SHOWN = 5


class LabelChange(NamedTuple):
    """The labels of an old and a new version, compared."""

    removed: tuple[str, ...]  # spelled otherwise counts: clients compare strings
    added: tuple[str, ...]
    same: dict[str, frozenset[str]]  # for each label of the old version that both know, its names in the new one
    unknown: tuple[str, ...]  # labels of the old version that the new one does not know under any name

    @classmethod
    def between(cls, old: Sequence[str], new: Sequence[str], label_map: LabelMap) -> Self:
        """Return the change from the labels *old* to *new*; raise `RolloutError` if *label_map* has other labels."""
        same = {label: frozenset(name for name in new if _fold(name) == _fold(label)) for label in old}
        same |= {label: frozenset([names] if isinstance(names, str) else names) for label, names in label_map.items()}
        _check_known("old", label_map, old)
        _check_known("new", frozenset().union(*(same[label] for label in label_map)), new)
        return cls(
            tuple(label for label in old if label not in new),
            tuple(label for label in new if label not in old),
            {label: names for label, names in same.items() if names},
            tuple(label for label in old if not same[label]),
        )

    def agree(self, old: str | None, new: str | None) -> bool | None:
        """Return whether the label *old* of the old version is *new*; None if a version does not know the other's."""
        if old not in self.same or not any(new in names for names in self.same.values()):
            return None
        return new in self.same[old]

    def adapt(self, thresholds: Thresholds) -> Thresholds:
        """Return the *thresholds* of live traffic, which is counted without labels: after this change."""
        # The confidences for labels that only one version knows cannot be compared.
        return msgspec.structs.replace(thresholds, confidence_shift=1.0) if self.unknown else thresholds


class VersionChange(NamedTuple):
    """An old and a new version in a running server, and what the new one may do."""

    server: Server
    journal: Journal
    old: Archive
    new: Archive
    labels: LabelChange
    thresholds: Thresholds


def read_label_map(path: Path) -> LabelMap:
    """Return the labels that the YAML file *path* maps; raise `RolloutError`."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=dict[str, str | list[str]])
    except (OSError, msgspec.DecodeError) as error:
        raise RolloutError(f"label map {path}: {error}; write a line as `old label: new label` for each") from error


def check_labels(
    journal: Journal, old: Archive, new: Archive, thresholds: Thresholds, label_map: LabelMap
) -> LabelChange:
    """Return the change from *old* to *new*, also shown; raise `RolloutError` if a minor version may not make it."""
    with journal.step("labels", "comparing the labels of both versions") as figures:
        change = LabelChange.between(old.spec.labels, new.spec.labels, label_map)
        parts = {"removed": change.removed, "added": change.added, "in both": tuple(change.same)}
        figures |= {f"labels_{name.replace(' ', '_')}": len(labels) for name, labels in parts.items()}
        if change.removed or change.added:
            for name, labels in parts.items():
                journal.note(f"labels {name}: {_list(labels) or 'none'}")
        if version_order(old.version)[0] == version_order(new.version)[0]:
            _check_removed(change, old, new, thresholds)
    return change


def _check_removed(change: LabelChange, old: Archive, new: Archive, thresholds: Thresholds) -> None:
    try:
        check([Figure("labels_removed", len(change.removed), thresholds.labels_removed)])
    except RolloutError as error:
        next_major = f"{version_order(old.version)[0] + 1}.0.0"
        raise RolloutError(
            f"{error}; only a new major version may remove labels: build it with `make archive VERSION={next_major}`, "
            f"or allow it with labels_removed: {len(change.removed)} in a copy of {THRESHOLDS.name} and "
            f"`make rollout VERSION={new.version} THRESHOLDS=mine.yaml`"
        ) from error


def _list(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _MAX_SHOWN} more" if len(labels) > _MAX_SHOWN else ""
    return ", ".join(labels[:_MAX_SHOWN]) + more


def _fold(label: str) -> str:
    return re.sub(r"[-_\s]+", " ", label).strip().casefold()


def _check_known(version: str, labels: Mapping[str, object] | frozenset[str], known: Sequence[str]) -> None:
    if unknown := sorted(set(labels) - set(known)):
        raise RolloutError(f"the label map names {_list(unknown)}, which the {version} version does not have")
