"""Which photos a run has learned from, by their content, so that no figure counts them. Axes: N photos."""

import hashlib
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handler.engine import count_cpus
from training.data.photo_set import DataError, Photo
from training.progress import print_line

LEARNED_FILE = "learned_photos.npy"
"""In a run: the digests of the photos, sorted; 600 kB for 75,000."""

_NUM_BYTES = 8


def digest_photos(photos: Sequence[Photo]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each file's SHA-256; raise `DataError`."""
    try:
        with ThreadPool(count_cpus()) as pool:
            digests = pool.map(lambda photo: hashlib.sha256(photo.path.read_bytes()).digest(), photos)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); check its permissions") from error
    return np.frombuffer(b"".join(digest[:_NUM_BYTES] for digest in digests), dtype=">u8").astype(np.uint64)


def read_learned(run: Path) -> NDArray[np.uint64] | None:
    """Return the digests of the photos that *run* has learned from; None, and a line, where it did not record them."""
    path = run / LEARNED_FILE
    if path.exists():
        digests: NDArray[np.uint64] = np.load(path, allow_pickle=False)
        return digests
    print_line(f"{run} has no {LEARNED_FILE}, so copies of photos that it has learned from are counted")
    return None


def leave_out_learned(photos: Sequence[Photo], learned: NDArray[np.uint64] | None) -> list[Photo]:
    """Return *photos* without files equal to one that was *learned* from, and print their number."""
    if learned is None or not photos:
        return list(photos)
    known_N = np.isin(digest_photos(photos), learned)
    if known_N.any():
        print_line(f"{known_N.sum():,} of {len(photos):,} photos are left out: the model has learned from them")
    return [photo for photo, known in zip(photos, known_N, strict=True) if not known]
