"""A set of labelled photos, as every step of training sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {split: split for split in SPLITS} | {"training": "train", "valid": "val", "validation": "val"}
"""What sources call them, in lower case."""
PHOTO_KINDS = ("jpg", "jpeg", "png", "webp", "avif", "gif", "bmp", "tif", "tiff", "heic")
"""What names of photos end in."""


class DataError(Exception):
    """A data set cannot be used; the text says what is wrong and what to do."""


@dataclass(frozen=True)
class Photo:
    path: Path
    """A local file; a copy in the cache if the source is remote or packed."""
    label: str
    group: str | None = None
    """Coarse label, if labels have groups."""
    split: str = ""
    """One of `SPLITS`; empty as long as the source gives none and none was chosen."""
    scene: str | None = None
    """Photos of one scene show the same things at one time and place: a chosen split never divides them."""
    digest: str = ""
    """SHA-256 of the file in hex, once it was inspected."""
    fingerprint: bytes = b""
    """8 bytes that differ in few bits between similar photos, once it was inspected."""


class SkippedPhoto(NamedTuple):
    path: Path
    reason: str


Sorted = tuple[list[Photo], list[SkippedPhoto]]
"""What is kept, and what is skipped."""


class NearDuplicate(NamedTuple):
    """A photo that resembles one of an earlier split, so that val or test figures may be too high."""

    photo: Photo
    twin: Photo


@dataclass(frozen=True)
class PhotoSet:
    name: str
    photos: tuple[Photo, ...]
    labels: tuple[str, ...]
    """Sorted; a label's position is its class index."""
    groups: tuple[str, ...] | None
    """The coarse label of each label."""
    digest: str
    """`sha256:…` over labels, splits and file contents, independent of paths and order."""
    skipped: tuple[SkippedPhoto, ...] = ()
    """Files that cannot be used; none of them is in `photos`."""
    near_duplicates: tuple[NearDuplicate, ...] = ()
    """Photos of val that resemble one in train, or photos of test that resemble one in train or val."""
    licence: str | None = None
    """Of the photos, where their source says it."""

    def of(self, split: str) -> tuple[Photo, ...]:
        """Return the photos of *split*, in a fixed order."""
        return tuple(photo for photo in self.photos if photo.split == split)
