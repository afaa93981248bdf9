"""Near-duplicates across splits: the same picture resized, compressed again or brightened.

Axes: N photos, M photos of earlier splits.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.photo_set import SPLITS, NearDuplicate, Photo

# On 300 photos of Grocery Store at most 4 of 64 bits differed after halving the size, 3 after JPEG
# at quality 40; two photos of different scenes differed in 8 or more.
MAX_DIFFERENT_BITS = 4

# Bounds the memory of one comparison: 75,000 photos of Food-101 times 64 are 38 MB.
_NUM_ROWS = 64


def find_near_duplicates(photos: Sequence[Photo], fingerprints: Sequence[bytes]) -> tuple[NearDuplicate, ...]:
    """Return every photo that resembles one of an earlier split (order: train, val, test), with the closest of them."""
    prints_N = np.frombuffer(b"".join(fingerprints), dtype=np.uint64)
    ranks_N = np.array([SPLITS.index(photo.split) for photo in photos])
    found = []
    for rank in range(1, len(SPLITS)):
        later, earlier = np.flatnonzero(ranks_N == rank), np.flatnonzero(ranks_N < rank)
        if len(later) and len(earlier):
            twins_N, distances_N = _find_nearest(prints_N[later], prints_N[earlier])
            found += [
                NearDuplicate(photos[later[index]], photos[earlier[twins_N[index]]])
                for index in np.flatnonzero(distances_N <= MAX_DIFFERENT_BITS)
            ]
    return tuple(found)


def _find_nearest(
    prints_N: NDArray[np.uint64], prints_M: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return for each of *prints_N* the index of the closest of *prints_M*, and how many bits differ."""
    twins, distances = [], []
    for start in range(0, len(prints_N), _NUM_ROWS):
        distances_NM = np.bitwise_count(prints_N[start : start + _NUM_ROWS, None] ^ prints_M)
        twins.append(distances_NM.argmin(axis=1))
        distances.append(distances_NM.min(axis=1))
    return np.concatenate(twins), np.concatenate(distances)
