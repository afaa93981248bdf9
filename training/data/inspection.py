"""A look into every file, once: what cannot be decoded is found before training, not in mid-epoch.

What was seen is remembered by the file's digest, so a second start only reads and hashes.
Axes: H height, W width.
"""

import hashlib
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import PIL
from PIL import Image
from rich.progress import track

from handler.decode import decode_photo
from handler.engine import count_cpus
from handler.problem import Problem
from handler.settings import Limits
from training.data.photos import DataError, LabelledFile

FILE_NAME = "inspections.sqlite"

# Decoding to this short side reads every byte of a JPEG and is about four times as fast as in full.
_SHORT_SIDE = 64


@dataclass(frozen=True)
class Inspected:
    file: LabelledFile
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    problem: str | None
    """Why the file cannot be used."""
    fingerprint: bytes
    """8 bytes that differ in few bits between photos that look alike; zeros where there is a problem."""


@dataclass(frozen=True)
class _Look:
    digest: str
    problem: str | None
    fingerprint: bytes


def inspect_files(files: Sequence[LabelledFile], cache: Path, limits: Limits) -> list[Inspected]:
    """Return what is in *files*, in their order; a photo that the server would refuse has a problem."""
    # Another Pillow or other limits may judge otherwise.
    rules = f"Pillow {PIL.__version__}, {limits}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache / FILE_NAME, timeout=60)) as memory:
            known = _recall(memory, rules)
            new: dict[str, _Look] = {}
            try:
                return [
                    Inspected(file, look.digest, look.problem, look.fingerprint)
                    for file, look in zip(files, _look_at_all(files, limits, known, new), strict=True)
                ]
            finally:
                # After Ctrl-C, too: what was seen need not be seen again.
                _remember(memory, rules, new)
    except (sqlite3.DatabaseError, OSError) as error:
        raise DataError(
            f"{cache / FILE_NAME} cannot be used ({error}); delete it, it is only a cache, or choose another place"
        ) from error


def fingerprint(image: Image.Image) -> bytes:
    """Return the 64-bit difference hash of *image*: is each of 8x8 places brighter than its left neighbour.

    Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    grey_HW = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))
    return np.packbits(grey_HW[:, 1:] > grey_HW[:, :-1]).tobytes()


def _look_at_all(
    files: Sequence[LabelledFile], limits: Limits, known: dict[str, _Look], new: dict[str, _Look]
) -> Iterator[_Look]:
    look_at = partial(_look_at, limits=limits, known=known)
    with warnings.catch_warnings(), ThreadPool(count_cpus()) as pool:
        # Decoders silence warnings for themselves, which threads cannot do apart: their filters are one.
        warnings.simplefilter("ignore")
        looks = pool.imap(look_at, (file.path for file in files), chunksize=8)
        for look in track(looks, "Looking at photos", total=len(files), transient=True):
            if look.digest not in known:
                new[look.digest] = look
            yield look


def _look_at(path: Path, limits: Limits, known: dict[str, _Look]) -> _Look:
    try:
        photo = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    digest = hashlib.sha256(photo).hexdigest()
    if digest in known:
        return known[digest]
    try:
        return _Look(digest, None, fingerprint(decode_photo(photo, limits, _SHORT_SIDE)))
    except Problem as problem:
        return _Look(digest, str(problem), bytes(8))


def _recall(memory: sqlite3.Connection, rules: str) -> dict[str, _Look]:
    with memory:
        memory.execute(
            "CREATE TABLE IF NOT EXISTS looks "
            "(rules TEXT, digest TEXT, problem TEXT, fingerprint BLOB, PRIMARY KEY (rules, digest))"
        )
    rows = memory.execute("SELECT digest, problem, fingerprint FROM looks WHERE rules = ?", (rules,))
    return {digest: _Look(digest, problem, print_) for digest, problem, print_ in rows}


def _remember(memory: sqlite3.Connection, rules: str, new: dict[str, _Look]) -> None:
    rows = [(rules, look.digest, look.problem, look.fingerprint) for look in new.values()]
    with memory:
        memory.executemany("INSERT OR IGNORE INTO looks VALUES (?, ?, ?, ?)", rows)
