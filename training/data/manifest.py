"""A CSV manifest: a row for each photo, with columns file and label, and optionally coarse_label, split and scene."""

import csv
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.data.photo_set import SPLIT_NAMES, SPLITS, DataError, Photo

_LOG = logging.getLogger(__name__)

FILE_NAMES = ("labels.csv", "manifest.csv")
COLUMNS = ("file", "label", "coarse_label", "split", "scene")
# Spreadsheets of countries with a decimal comma write semicolons.
_DELIMITERS = ",;\t"


def read_manifest(path: Path) -> list[Photo]:
    """Return the photos that the manifest *path* lists; paths are relative to its folder. Raises `DataError`."""
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            delimiter = max(_DELIMITERS, key=lines.readline().count)
            lines.seek(0)
            rows = csv.DictReader(lines, strict=True, delimiter=delimiter)
            columns = rows.fieldnames or ()
            if missing := [column for column in ("file", "label") if column not in columns]:
                raise DataError(
                    f"{path} has no column {' and no column '.join(missing)}, it has {', '.join(columns) or 'none'}; "
                    "name them in its first line (required: file, label; optional: coarse_label, split, scene)"
                )
            photos = [_parse_row(row, f"{path}, line {rows.line_num}", path.parent) for row in rows]
    except FileNotFoundError as error:
        raise DataError(f"the manifest {path} does not exist; check its path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one") from error
    if not photos:
        raise DataError(f"{path} has a header but no rows; list photos of at least two labels")
    check_existence(photos, path)
    return _drop_repeated(photos, path)


def write_manifest(path: Path, photos: Iterable[Photo]) -> None:
    """Write *photos* as a manifest at *path*, with paths relative to its folder where they are inside."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        for photo in photos:
            inside = photo.path.is_relative_to(path.parent)
            place = photo.path.relative_to(path.parent) if inside else photo.path.resolve()
            writer.writerow((place.as_posix(), photo.label, photo.group or "", photo.split, photo.scene or ""))


def check_existence(photos: Sequence[Photo], path: Path) -> None:
    """Raise `DataError` if a file of *photos*, listed by *path*, does not exist."""
    if missing := [photo.path for photo in photos if not photo.path.is_file()]:
        raise DataError(
            f"{path} lists {len(missing):,} of {len(photos):,} files that do not exist, the first is {missing[0]}; "
            f"paths are relative to {path.parent}"
        )


def _parse_row(row: dict[str, str | None], place: str, folder: Path) -> Photo:
    file, label, group, split, scene = ((row.get(column) or "").strip() for column in COLUMNS)
    if None in row:
        raise DataError(f"{place}: the row has more cells than the first line has columns; quote what has a comma")
    if not (file and label):
        raise DataError(f"{place}: {'label' if file else 'file'} is empty; fill it in or delete the row")
    if split and split.lower() not in SPLIT_NAMES:
        raise DataError(f"{place}: split is {split!r}, it may be {', '.join(SPLITS)} or empty")
    return Photo(folder / file, label, group or None, SPLIT_NAMES.get(split.lower(), ""), scene or None)


def _drop_repeated(photos: Sequence[Photo], path: Path) -> list[Photo]:
    """Return *photos* without rows that repeat an earlier one; raise `DataError` for one file with two labels."""
    labels: dict[Path, str] = {}
    for photo in photos:
        first = labels.setdefault(photo.path, photo.label)
        if first != photo.label:
            raise DataError(f"{path} gives {photo.path} two labels, {first!r} and {photo.label!r}; keep one row")
    distinct = list(dict.fromkeys(photos))
    if len(distinct) < len(photos):
        _LOG.warning("%s repeats %d row(s), which are ignored", path, len(photos) - len(distinct))
    return distinct
