"""A CSV manifest: one row a photo, with the columns file and label, and as you like split and coarse_label."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from training.data.photos import SPLITS, DataError, LabelledFile

FILE_NAMES = ("labels.csv", "manifest.csv")
COLUMNS = ("file", "label", "coarse_label", "split")

_REQUIRED = ("file", "label")


def read_manifest(path: Path) -> list[LabelledFile]:
    """Return the files that the manifest *path* lists; relative ones lie beside it. Raises `DataError`."""
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            _check_columns(rows.fieldnames or (), path)
            files = [_parse_row(row, f"{path}, line {rows.line_num}", path.parent) for row in rows]
    except FileNotFoundError as error:
        raise DataError(f"the manifest {path} does not exist; check its path") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 ({error}); save it as one") from error
    if not files:
        raise DataError(f"{path} has a header but no rows; list at least two labels' photos")
    check_existence(files, path)
    return files


def write_manifest(path: Path, files: Iterable[LabelledFile]) -> None:
    """Write *files* as a manifest at *path*, each by its place relative to it."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        for file in files:
            place = file.path.relative_to(path.parent).as_posix()
            writer.writerow((place, file.label, file.group or "", file.split))


def check_existence(files: Sequence[LabelledFile], path: Path) -> None:
    """Raise `DataError` if *files*, listed by *path*, are not all there."""
    missing = [file.path for file in files if not file.path.is_file()]
    if missing:
        raise DataError(
            f"{path} lists {len(missing):,} of {len(files):,} files that do not exist, the first is {missing[0]}; "
            f"paths are relative to {path.parent}"
        )


def _check_columns(columns: Iterable[str], path: Path) -> None:
    missing = [column for column in _REQUIRED if column not in columns]
    if missing:
        raise DataError(
            f"{path} has no column {' and no column '.join(missing)}, it has {', '.join(columns) or 'none'}; "
            f"name them in its first line ({', '.join(_REQUIRED)} are needed, split and coarse_label may be there)"
        )


def _parse_row(row: dict[str, str | None], place: str, folder: Path) -> LabelledFile:
    values = {column: (row.get(column) or "").strip() for column in COLUMNS}
    empty = [column for column in _REQUIRED if not values[column]]
    if empty:
        raise DataError(f"{place}: {empty[0]} is empty; fill it in or delete the row")
    if values["split"] and values["split"] not in SPLITS:
        raise DataError(f"{place}: split is {values['split']!r}, it may be {', '.join(SPLITS)} or empty")
    return LabelledFile(
        path=folder / values["file"],
        label=values["label"],
        group=values["coarse_label"] or None,
        split=values["split"],
    )
