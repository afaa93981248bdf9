"""Which photos a run has learned from, by their content, so that no figure counts them. Axes: N photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.photo_set import Photo
from training.progress import print_line

LEARNED_FILE = "learned_photos.npy"
"""In a run: the digests of the photos, sorted; 600 kB for 75,000."""

_NUM_DIGITS = 16


def shorten_digests(photos: Sequence[Photo]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each photo's SHA-256."""
    return np.array([int(photo.digest[:_NUM_DIGITS], 16) for photo in photos], dtype=np.uint64)


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
    known_N = np.isin(shorten_digests(photos), learned)
    if known_N.any():
        print_line(f"{known_N.sum():,} of {len(photos):,} photos are left out: the model has learned from them")
    return [photo for photo, known in zip(photos, known_N, strict=True) if not known]
