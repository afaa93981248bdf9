"""Every source of photos, read to one checked photo set."""

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from training.data.corrected_photos import add_corrections
from training.data.duplicates import find_near_duplicates
from training.data.fetch import PUBLIC_SETS, fetch_set
from training.data.labels import check_known, check_labels, check_names, find_groups, list_labels
from training.data.layouts import list_folder
from training.data.manifest import read_manifest
from training.data.photo_set import SPLITS, DataError, Photo, PhotoSet, SkippedPhoto
from training.data.scenes import assign_scenes
from training.data.shards import unpack_shards
from training.data.split import choose_splits, find_usable, skip, skip_copies
from training.progress import print_line

_LOG = logging.getLogger(__name__)
_NUM_LOGGED = 10


def load_photos(
    source: str, *, cache: Path, seed: int = 0, val_share: float = 0.1, corrections: Path | None = None
) -> PhotoSet:
    """Return the photos of *source*, inspected and in splits; raise `DataError`.

    *source* is a folder (of photos or of WebDataset shards), a .csv manifest, the name of a public
    set, `gs://bucket/prefix`, or a pattern of shards that ends in .tar. A remote or packed source is
    copied to *cache* first. *seed* and *val_share* choose the val split if the source has none. *corrections* is a
    folder that `python -m monitoring.corrections` wrote: its photos are learned from, too.
    """
    listed = _list_source(source, cache)
    usable, skipped = find_usable(listed, cache)
    usable, copies = skip_copies(choose_splits(assign_scenes(usable), seed, val_share))
    skipped += copies
    if corrections is not None:
        usable, not_added = add_corrections(usable, corrections, cache)
        skipped += not_added
    _log_skipped(skipped)
    check_labels(source, listed, usable)
    path, photos = Path(source).resolve(), _sort_by_content(usable)
    labels = tuple(sorted({photo.label for photo in photos}))
    photo_set = PhotoSet(
        # A pattern of shards does not name the set.
        name=path.parent.name if path.suffix == ".tar" else path.name.removesuffix(".csv"),
        photos=photos,
        labels=labels,
        groups=find_groups(source, photos, labels),
        digest=_digest(photos),
        skipped=tuple(skipped),
        near_duplicates=tuple(find_near_duplicates(photos)),
        licence=PUBLIC_SETS[source].licence if source in PUBLIC_SETS else None,
    )
    _print_summary(photo_set)
    return photo_set


def load_test_photos(
    source: str, labels: Collection[str], *, cache: Path, known: Collection[str] = frozenset()
) -> tuple[Photo, ...]:
    """Return photos to evaluate a model of *labels* on, all in the split test; raise `DataError`.

    If *source* has a test split, only that is returned. Files whose digests are in *known*, those of the model's own
    data set, are left out.
    """
    listed = _list_source(source, cache)
    listed = [photo for photo in listed if photo.split == "test"] or listed
    check_known(source, listed, labels)
    usable, skipped = find_usable(listed, cache)
    reason = "the same file is in data.source or the corrections"
    usable, copies = skip(usable, lambda photo: reason if photo.digest in known else None)
    _log_skipped(skipped + copies)
    if not usable:
        raise DataError(f"{source} has no usable photo among {len(listed):,} files; see the reasons above")
    return _sort_by_content([replace(photo, split="test") for photo in usable])


def _list_source(source: str, cache: Path) -> list[Photo]:
    """Return the photos of *source*, copied to *cache* if it is remote or packed."""
    try:
        path = Path(source)
        if source in PUBLIC_SETS:
            path = fetch_set(source, cache)
        elif source.startswith("gs://"):
            from training.data.bucket import mirror_bucket  # slow to import

            path = mirror_bucket(source, cache / "buckets")
        if any(path.glob("*.tar")):
            path /= "*.tar"
        if path.suffix == ".csv":
            listed = read_manifest(path)
        elif path.suffix == ".tar":
            listed = unpack_shards(str(path), cache / "shards")
        else:
            listed = list_folder(path)
    except OSError as error:
        raise DataError(
            f"{source} cannot be read or copied ({error}); check permissions and free space, then run it again"
        ) from error
    check_names(listed)
    return listed


def _sort_by_content(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    # Not by path: the order decides batches, and moving the files must not change it.
    return tuple(sorted(photos, key=lambda photo: (photo.label, photo.digest, photo.path)))


def _digest(photos: Sequence[Photo]) -> str:
    lines = sorted(json.dumps([photo.digest, photo.label, photo.group, photo.split]) for photo in photos)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _print_summary(photo_set: PhotoSet) -> None:
    counts = [f"{len(photos):,} in {split}" for split in SPLITS if (photos := photo_set.of(split))]
    print_line(
        f"{photo_set.name}: {len(photo_set.photos):,} photos, {len(photo_set.labels):,} labels, {', '.join(counts)}"
    )
    if photo_set.near_duplicates:
        first = photo_set.near_duplicates[0]
        _LOG.warning(
            "%d photo(s) resemble one of an earlier split, so figures may be too high; the first is %s, like %s",
            len(photo_set.near_duplicates),
            first.photo.path,
            first.twin.path,
        )
    if absent := set(photo_set.labels) - {photo.label for photo in photo_set.of("val")}:
        _LOG.warning("val has no photo of %d label(s), %s: its figures ignore them", len(absent), list_labels(absent))


def _log_skipped(skipped: Sequence[SkippedPhoto]) -> None:
    for photo in skipped[:_NUM_LOGGED]:
        _LOG.warning("%s is skipped: %s", photo.path, photo.reason)
    if len(skipped) > _NUM_LOGGED:
        _LOG.warning("and %d more photos are skipped", len(skipped) - _NUM_LOGGED)
