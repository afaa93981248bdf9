"""Every file decoded once, so that a broken one is found before training and not in the middle of an epoch.

Results are cached by the file's digest: a second start only reads and hashes. Axes: H height, W width.
"""

import hashlib
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image

from handler.decode import decode_photo
from handler.engine import count_cpus
from handler.problem import Problem
from handler.settings import Limits
from training.data.photo_set import DataError, Photo, SkippedPhoto, Sorted
from training.progress import track

FILE_NAME = "inspections.sqlite"

# Beyond what clients may send: training may take its time for phone photos of 108 megapixels. Pillow ends at 178.
TRAINING_LIMITS = Limits(
    max_photo_bytes=2**30,
    max_photo_pixels=10**9,
    max_photo_seconds=3600,
    max_request_seconds=3600,
    max_batch_seconds=3600,
)

# Decoding to this short side reads every byte of a JPEG and is about four times as fast as in full.
_SHORT_SIDE = 64

_CREATE = """CREATE TABLE IF NOT EXISTS inspections
    (rules TEXT, digest TEXT, problem TEXT, fingerprint BLOB, PRIMARY KEY (rules, digest))"""
_SELECT = "SELECT digest, problem, fingerprint FROM inspections WHERE rules = ?"
_INSERT = "INSERT OR IGNORE INTO inspections VALUES (?, ?, ?, ?)"


class _Finding(NamedTuple):
    digest: str
    problem: str | None
    """Why the file cannot be used."""
    fingerprint: bytes
    """Zeros if there is a problem."""


def inspect_photos(photos: Sequence[Photo], cache: Path) -> Sorted:
    """Return *photos* in their order, with digests and fingerprints, and what cannot be decoded; raise `DataError`."""
    # Another Pillow or other limits may give other results.
    rules = f"Pillow {PIL.__version__}, {TRAINING_LIMITS}"
    findings: list[_Finding] = []
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache / FILE_NAME, timeout=60)) as database:
            database.execute(_CREATE)
            known = {row[0]: _Finding(*row) for row in database.execute(_SELECT, (rules,))}
            try:
                findings.extend(_inspect_all(photos, known))
            finally:
                # Also after Ctrl-C, so that no photo is inspected twice.
                with database:
                    database.executemany(_INSERT, [(rules, *found) for found in findings])
    except (sqlite3.DatabaseError, OSError) as error:
        raise DataError(
            f"{cache / FILE_NAME} cannot be used ({error}); delete it, it is only a cache, or choose another place"
        ) from error
    inspected = list(zip(photos, findings, strict=True))
    return (
        [replace(photo, digest=f.digest, fingerprint=f.fingerprint) for photo, f in inspected if f.problem is None],
        [SkippedPhoto(photo.path, f.problem) for photo, f in inspected if f.problem is not None],
    )


def fingerprint(image: Image.Image) -> bytes:
    """Return the 64-bit difference hash of *image*: for 8x8 places, whether the one to its right is brighter.

    Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    grey_HW = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))
    return np.packbits(grey_HW[:, 1:] > grey_HW[:, :-1]).tobytes()


def _inspect_all(photos: Sequence[Photo], known: Mapping[str, _Finding]) -> Iterator[_Finding]:
    with warnings.catch_warnings(), ThreadPool(count_cpus()) as pool:
        # Decoders silence warnings for themselves, but the filters belong to all threads.
        warnings.simplefilter("ignore")
        findings = pool.imap(partial(_inspect, known=known), photos, chunksize=8)
        yield from track(findings, "Inspecting photos", "photos", len(photos))


def _inspect(photo: Photo, known: Mapping[str, _Finding]) -> _Finding:
    try:
        content = photo.path.read_bytes()
    except OSError as error:
        raise DataError(f"{photo.path} cannot be read ({error.strerror}); check its permissions") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest in known:
        return known[digest]
    try:
        return _Finding(digest, None, fingerprint(decode_photo(content, TRAINING_LIMITS, _SHORT_SIDE)))
    except Problem as problem:
        return _Finding(digest, str(problem), bytes(8))
