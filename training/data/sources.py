"""Where photos come from: every source read to one checked set."""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from handler.settings import Limits
from training.data.duplicates import find_near_duplicates
from training.data.inspection import Inspected, inspect_files
from training.data.labels import check_any, check_known, check_labels, check_names, check_val, find_groups
from training.data.layouts import list_folder
from training.data.manifest import read_manifest
from training.data.photos import DataError, LabelledFile, Photo, PhotoSet, SkippedPhoto
from training.data.public_sets import PUBLIC_SETS
from training.data.split import choose_splits, place, set_copies_aside

_LOG = logging.getLogger(__name__)
_NUM_LOGGED = 10


def load_photos(source: str, *, cache: Path, seed: int = 0, val_share: float = 0.1) -> PhotoSet:
    """Return the photos of *source*, each looked at, in splits; raise `DataError`.

    *source* is a folder (of photos or of WebDataset shards), a .csv manifest, the name of a public
    set, `gs://bucket/prefix`, or a pattern of shards that ends in .tar. What is remote or packed is
    copied to *cache* first. *seed* and *val_share* choose the val split where the source has none.
    """
    listed = _list_source(source, cache)
    usable, skipped = _inspect(listed, cache)
    usable, copies = set_copies_aside(choose_splits(usable, seed, val_share))
    _log_skipped([*skipped, *copies])
    files = [item.file for item in usable]
    check_labels(source, listed, files)
    check_val(source, files)
    labels = tuple(sorted({file.label for file in files}))
    return _assemble(source, usable, [*skipped, *copies], labels, find_groups(source, files, labels))


def load_test_photos(source: str, labels: tuple[str, ...], *, cache: Path) -> PhotoSet:
    """Return photos to judge a model of *labels* by, all in the split test; raise `DataError`.

    Where *source* has a test split only that is taken. `groups` is None: a test set need not show
    every label, so those of the model hold.
    """
    listed = _list_source(source, cache)
    listed = [file for file in listed if file.split == "test"] or listed
    check_known(source, listed, labels)
    usable, skipped = _inspect(listed, cache)
    _log_skipped(skipped)
    check_any(source, listed, [item.file for item in usable])
    return _assemble(source, [place(item, "test") for item in usable], skipped, labels, None)


def _list_source(source: str, cache: Path) -> list[LabelledFile]:
    try:
        listed = _list_any(source, cache)
        check_names(listed)
        return listed
    except OSError as error:
        raise DataError(
            f"{source} cannot be read or copied ({error}); check permissions and free space, then run it again"
        ) from error


def _list_any(source: str, cache: Path) -> list[LabelledFile]:
    if source in PUBLIC_SETS:
        from training.data.fetch import fetch_set

        return _list_local(fetch_set(source, cache), cache)
    if source.startswith("gs://"):
        from training.data.bucket import mirror_bucket

        return _list_local(mirror_bucket(source, cache / "buckets"), cache)
    return _list_local(Path(source), cache)


def _list_local(path: Path, cache: Path) -> list[LabelledFile]:
    if path.suffix == ".csv":
        return read_manifest(path)
    if any(path.glob("*.tar")):
        path /= "*.tar"
    if path.suffix == ".tar":
        from training.data.shards import unpack_shards

        return unpack_shards(str(path), cache / "shards")
    return list_folder(path)


def _inspect(listed: Sequence[LabelledFile], cache: Path) -> tuple[list[Inspected], list[SkippedPhoto]]:
    inspected = inspect_files(listed, cache, Limits())
    skipped = [SkippedPhoto(item.file.path, item.problem) for item in inspected if item.problem is not None]
    return [item for item in inspected if item.problem is None], skipped


def _assemble(
    source: str,
    usable: Sequence[Inspected],
    skipped: Sequence[SkippedPhoto],
    labels: tuple[str, ...],
    groups: tuple[str, ...] | None,
) -> PhotoSet:
    # By content, not by path: the order decides batches, and moving the files must not change it.
    usable = sorted(usable, key=lambda item: (item.file.label, item.digest, item.file.path))
    photos = tuple(Photo(item.file.path, item.file.label, item.file.group, item.file.split) for item in usable)
    near_duplicates = find_near_duplicates(photos, [item.fingerprint for item in usable])
    if near_duplicates:
        first = near_duplicates[0]
        _LOG.warning(
            "%d photo(s) look like one of an earlier split, so figures may flatter; the first is %s, like %s",
            len(near_duplicates),
            first.photo.path,
            first.twin.path,
        )
    return PhotoSet(
        name=_name_set(source),
        photos=photos,
        labels=labels,
        groups=groups,
        digest=_digest(usable),
        skipped=tuple(skipped),
        near_duplicates=near_duplicates,
    )


def _name_set(source: str) -> str:
    if source in PUBLIC_SETS:
        return source
    path = Path(source).resolve()
    # A pattern of shards is no name.
    return path.parent.name if path.suffix == ".tar" else path.name.removesuffix(".csv")


def _digest(usable: Sequence[Inspected]) -> str:
    lines = sorted(json.dumps([item.digest, item.file.label, item.file.group, item.file.split]) for item in usable)
    return "sha256:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _log_skipped(skipped: Sequence[SkippedPhoto]) -> None:
    for photo in skipped[:_NUM_LOGGED]:
        _LOG.warning("%s is skipped: %s", photo.path, photo.reason)
    if len(skipped) > _NUM_LOGGED:
        _LOG.warning("and %d more photos are skipped", len(skipped) - _NUM_LOGGED)
