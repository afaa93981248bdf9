"""A folder of corrections: photos/, corrections.jsonl with all of them, labels.csv with the latest to train with."""

import csv
import logging
import os
from pathlib import Path

import msgspec

from handler.spec import INVALID_JSON
from monitoring.correction import Correction, CorrectionError

CORRECTIONS_FILE = "corrections.jsonl"
MANIFEST_FILE = "labels.csv"

_LOG = logging.getLogger(__name__)


def read_corrections(folder: Path) -> list[Correction]:
    """Return every correction of *folder*, oldest first; lines that cannot be read are left out, with a warning.

    Raises `CorrectionError`.
    """
    path = folder / CORRECTIONS_FILE
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CorrectionError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    corrections = []
    for number, line in enumerate(lines, start=1):
        try:
            corrections.append(msgspec.json.decode(line, type=Correction))
        # A line may be cut off, or come from anybody.
        except INVALID_JSON as error:
            _LOG.warning("%s, line %d is left out: %s", path, number, error)
    return sorted(corrections, key=lambda one: one.time)


def latest_corrections(corrections: list[Correction]) -> list[Correction]:
    """Return the last of *corrections* (oldest first) on each photo."""
    return list({one.digest: one for one in corrections}.values())


def add_correction(folder: Path, correction: Correction, photo: bytes | None) -> None:
    """Add *correction*, and *photo* unless it is there, to *folder*; raise `OSError`."""
    path = folder / correction.photo
    path.parent.mkdir(parents=True, exist_ok=True)
    if photo is not None:
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(photo)
        partial.replace(path)
    with (folder / CORRECTIONS_FILE).open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        # A line that was cut off by a full disk must not take the next one with it.
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(start + msgspec.json.encode(correction) + b"\n")


def write_manifest(folder: Path, corrections: list[Correction]) -> Path:
    """Write the latest *corrections* as a manifest to train with; return its path. Its test split is held out."""
    path = folder / MANIFEST_FILE
    kept = [one for one in corrections if (folder / one.photo).is_file()]
    if len(kept) < len(corrections):
        _LOG.warning("%d photo(s) of %s are missing and not in %s", len(corrections) - len(kept), folder, path.name)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "split"))
        for correction in sorted(kept, key=lambda one: one.digest):
            writer.writerow((correction.photo, correction.label, "test" if correction.is_held_out else "train"))
    return partial.replace(path)
