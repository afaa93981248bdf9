"""A set of labelled photos as every step of training sees it."""

from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "val", "test")


class DataError(Exception):
    """A data set cannot be used; the text says what is wrong with it and what to do."""


@dataclass(frozen=True)
class LabelledFile:
    """A file as its source lists it, before anybody looked inside."""

    path: Path
    label: str
    group: str | None = None
    split: str = ""
    """One of `SPLITS`; empty where the source leaves the choice to us."""


@dataclass(frozen=True)
class Photo:
    path: Path
    """A readable local file; a cached copy where the source is remote."""
    label: str
    group: str | None
    """Coarse label, where labels have groups."""
    split: str


@dataclass(frozen=True)
class SkippedPhoto:
    path: Path
    reason: str


@dataclass(frozen=True)
class NearDuplicate:
    """A photo that looks like one of an earlier split: val or test figures may flatter."""

    photo: Photo
    twin: Photo


@dataclass(frozen=True)
class PhotoSet:
    name: str
    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    """Sorted; a label's position is its class index."""
    groups: tuple[str, ...] | None
    """For each label its coarse label."""
    digest: str
    """`sha256:…` over labels, splits and file contents; moving or reordering files leaves it as it is."""
    skipped: tuple[SkippedPhoto, ...] = ()
    """What could not be used, never in `photos`."""
    near_duplicates: tuple[NearDuplicate, ...] = ()
    """Photos of val and test that look like one in train, or of test like one in val."""

    def of(self, split: str) -> tuple[Photo, ...]:
        """Return the photos of *split*, in a fixed order."""
        return tuple(photo for photo in self.photos if photo.split == split)
