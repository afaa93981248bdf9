"""Which photos a run has learned from or was chosen by, by content, so that no test counts them. Axes: N photos."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.photo_set import Photo
from training.progress import print_line

LEARNED_FILE = "learned_photos.npy"
"""In a run: the digests of the photos, sorted; 600 kB for 75,000."""
VAL_FILE = "val_photos.npy"
"""The same of val, which has chosen its epoch, penalty, temperature and threshold."""


def shorten_digests(photos: Sequence[Photo]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each photo's SHA-256."""
    return np.array([int(photo.digest[:16], 16) for photo in photos], dtype=np.uint64)


def read_digests(run: Path, file: str) -> NDArray[np.uint64] | None:
    """Return the digests that *file* of *run* holds; None, and a line, where it did not record them."""
    path = run / file
    if path.exists():
        digests: NDArray[np.uint64] = np.load(path, allow_pickle=False)
        return digests
    print_line(f"{run} has no {file}, so copies of the photos that it would list are counted")
    return None


def leave_out(photos: Sequence[Photo], digests: NDArray[np.uint64] | None, reason: str) -> list[Photo]:
    """Return *photos* without the files of *digests*, and print their number with the *reason*."""
    if digests is None or not photos:
        return list(photos)
    known_N = np.isin(shorten_digests(photos), digests)
    if known_N.any():
        print_line(f"{known_N.sum():,} of {len(photos):,} photos are left out: {reason}")
    return [photo for photo, known in zip(photos, known_N, strict=True) if not known]
