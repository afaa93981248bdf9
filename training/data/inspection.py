"""Every file decoded once, so that a broken one is found before training and not in the middle of an epoch.

Results are cached by the file's digest: a second start only reads and hashes. Axes: H height, W width.
"""

import hashlib
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL
from PIL import Image

from handler.decode import decode_photo
from handler.engine import count_cpus
from handler.problem import Problem
from handler.settings import Limits
from training.data.photo_set import DataError, Photo
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

_Known = Mapping[str, Sequence[Any]]
"""The problem and the fingerprint of files, by digest."""


class Inspected(NamedTuple):
    photo: Photo
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    problem: str | None
    """Why the file cannot be used."""
    fingerprint: bytes
    """8 bytes that differ in few bits between similar photos; zeros if there is a problem."""


def inspect_photos(photos: Sequence[Photo], cache: Path, limits: Limits) -> list[Inspected]:
    """Return *photos* in their order; one that cannot be decoded within *limits* has a problem. Raises `DataError`."""
    # Another Pillow or other limits may give other results.
    rules = f"Pillow {PIL.__version__}, {limits}"
    inspected: list[Inspected] = []
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache / FILE_NAME, timeout=60)) as database:
            database.execute(_CREATE)
            known = {digest: result for digest, *result in database.execute(_SELECT, (rules,))}
            try:
                inspected.extend(_inspect_all(photos, limits, known))
            finally:
                # Also after Ctrl-C, so that no photo is inspected twice.
                with database:
                    rows = [(rules, item.digest, item.problem, item.fingerprint) for item in inspected]
                    database.executemany(_INSERT, rows)
    except (sqlite3.DatabaseError, OSError) as error:
        raise DataError(
            f"{cache / FILE_NAME} cannot be used ({error}); delete it, it is only a cache, or choose another place"
        ) from error
    return inspected


def fingerprint(image: Image.Image) -> bytes:
    """Return the 64-bit difference hash of *image*: for 8x8 places, whether the one to its right is brighter.

    Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    grey_HW = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))
    return np.packbits(grey_HW[:, 1:] > grey_HW[:, :-1]).tobytes()


def _inspect_all(photos: Sequence[Photo], limits: Limits, known: _Known) -> Iterator[Inspected]:
    with warnings.catch_warnings(), ThreadPool(count_cpus()) as pool:
        # Decoders silence warnings for themselves, but the filters belong to all threads.
        warnings.simplefilter("ignore")
        inspected = pool.imap(partial(_inspect, limits=limits, known=known), photos, chunksize=8)
        yield from track(inspected, "Inspecting photos", "photos", len(photos))


def _inspect(photo: Photo, limits: Limits, known: _Known) -> Inspected:
    try:
        content = photo.path.read_bytes()
    except OSError as error:
        raise DataError(f"{photo.path} cannot be read ({error.strerror}); check its permissions") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest in known:
        return Inspected(photo, digest, *known[digest])
    try:
        return Inspected(photo, digest, None, fingerprint(decode_photo(content, limits, _SHORT_SIDE)))
    except Problem as problem:
        return Inspected(photo, digest, str(problem), bytes(8))
