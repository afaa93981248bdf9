"""Where corrections are collected from: a CSV, a folder of corrections, and the sink's folder or bucket."""

import csv
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from handler.spec import INVALID_JSON
from model_archive.storage import RegistryError, Storage, open_storage
from monitoring.correction import Correction, CorrectionError, make_correction
from monitoring.correction_folder import CORRECTIONS_FILE, read_corrections

RECEIVED = "received"
"""The folder of a sink's storage with an object for each correction."""

# Spreadsheets of countries with a decimal comma write semicolons.
_DELIMITERS = ",;\t"


class FoundCorrection(NamedTuple):
    """One correction of a source, and how to read its photo."""

    place: str
    correction: Correction
    read_photo: Callable[[], bytes]
    """Raises `CorrectionError` or `RegistryError`."""


class Refused(NamedTuple):
    place: str
    reason: str


def read_source(source: str) -> Iterator[FoundCorrection | Refused]:
    """Yield the corrections of *source*, a .csv file, a folder or gs://bucket/prefix; raise `CorrectionError`."""
    path = Path(source)
    if source.startswith("gs://") or (path / RECEIVED).is_dir():
        return _read_received(source)
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if (path / CORRECTIONS_FILE).is_file():
        return _read_folder(path)
    raise CorrectionError(
        f"{source} is not a source of corrections; name a .csv file, a folder with {CORRECTIONS_FILE} or {RECEIVED}/, "
        "or gs://bucket/prefix"
    )


def _read_csv(path: Path) -> Iterator[FoundCorrection | Refused]:
    try:
        # Spreadsheets put a byte order mark before the first column's name.
        with path.open(encoding="utf-8-sig", newline="") as lines:
            delimiter = max(_DELIMITERS, key=lines.readline().count)
            lines.seek(0)
            rows = csv.DictReader(lines, strict=True, delimiter=delimiter)
            columns = rows.fieldnames or ()
            if missing := [column for column in ("photo", "label") if column not in columns]:
                raise CorrectionError(
                    f"{path} has no column {' and no column '.join(missing)}, it has {', '.join(columns) or 'none'}; "
                    "name them in its first line (required: photo, label; optional: who, version, answer)"
                )
            for row in rows:
                yield _parse_row(row, f"{path}, line {rows.line_num}", path.parent)
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise CorrectionError(f"{path} cannot be read as a CSV file in UTF-8 ({error}); save it as one") from error


def _parse_row(row: dict[str, str | None], place: str, folder: Path) -> FoundCorrection | Refused:
    named = row.get("photo") or ""
    photo = folder / named
    try:
        if not named or not photo.resolve().is_relative_to(folder.resolve()):
            raise CorrectionError(f"photo is {named!r}; it must name a file inside {folder}")
        content = _read_file(photo)
        texts = {name: row.get(name) or "" for name in ("who", "version", "answer")}
        digest = hashlib.sha256(content).hexdigest()
        correction = make_correction(digest, row.get("label") or "", "csv", **texts)
    except (CorrectionError, ValueError) as error:  # a path with a zero byte is a ValueError
        return Refused(place, str(error))
    return FoundCorrection(place, correction, lambda: content)


def _read_folder(folder: Path) -> Iterator[FoundCorrection]:
    for correction in read_corrections(folder):
        photo = folder / correction.photo
        yield FoundCorrection(str(photo), correction, partial(_read_file, photo))


def _read_received(uri: str) -> Iterator[FoundCorrection | Refused]:
    try:
        storage = open_storage(uri, must_exist=True)
        for name in storage.list_names(RECEIVED):
            place = f"{storage.uri}/{RECEIVED}/{name}"
            try:
                correction = msgspec.json.decode(_read_object(storage, f"{RECEIVED}/{name}"), type=Correction)
            except INVALID_JSON as error:
                yield Refused(place, str(error))
                continue
            yield FoundCorrection(place, correction, partial(_read_object, storage, correction.photo))
    except RegistryError as error:
        raise CorrectionError(str(error)) from error


def _read_object(storage: Storage, name: str) -> bytes:
    return b"".join(storage.read(name))


def _read_file(path: Path) -> bytes:
    if not path.is_file():
        raise CorrectionError(f"{path} is not a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorrectionError(f"{path} cannot be read ({error.strerror})") from error
