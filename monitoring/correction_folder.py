"""A folder of corrections: photos/, corrections.jsonl with every word ever said, labels.csv to train with."""

import csv
import logging
import os
from pathlib import Path

import msgspec

from handler.spec import INVALID_JSON
from monitoring.correction import Correction, CorrectionError

WORDS_FILE = "corrections.jsonl"
MANIFEST_FILE = "labels.csv"

_LOG = logging.getLogger(__name__)


def read_words(folder: Path) -> list[Correction]:
    """Return every correction of *folder*, oldest first; lines that cannot be read are left out, with a warning.

    Raises `CorrectionError`.
    """
    path = folder / WORDS_FILE
    if not path.exists():
        return []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CorrectionError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    words = []
    for number, line in enumerate(lines, start=1):
        try:
            words.append(msgspec.json.decode(line, type=Correction))
        # A line may be cut off, or come from anybody.
        except INVALID_JSON as error:
            _LOG.warning("%s, line %d is left out: %s", path, number, error)
    return sorted(words, key=lambda word: word.time)


def latest_words(words: list[Correction]) -> list[Correction]:
    """Return the last of *words* (oldest first) on each photo."""
    return list({word.digest: word for word in words}.values())


def add_word(folder: Path, word: Correction, photo: bytes | None) -> None:
    """Add *word*, and *photo* unless it is there, to *folder*; raise `OSError`."""
    path = folder / word.photo
    path.parent.mkdir(parents=True, exist_ok=True)
    if photo is not None:
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(photo)
        partial.replace(path)
    with (folder / WORDS_FILE).open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        # A line that was cut off by a full disk must not take the next one with it.
        start = b"" if file.read(1) in (b"", b"\n") else b"\n"
        file.write(start + msgspec.json.encode(word) + b"\n")


def write_manifest(folder: Path, words: list[Correction]) -> Path:
    """Write the latest *words* as a manifest to train with; return its path. Those held out are its test split."""
    path = folder / MANIFEST_FILE
    kept = [word for word in words if (folder / word.photo).is_file()]
    if len(kept) < len(words):
        _LOG.warning("%d photo(s) of %s are missing and not in %s", len(words) - len(kept), folder, path.name)
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "split"))
        for word in sorted(kept, key=lambda word: word.digest):
            writer.writerow((word.photo, word.label, "test" if word.is_held_out else "train"))
    return partial.replace(path)
