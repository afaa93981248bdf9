"""Photos that resemble each other: the same picture resized, compressed again or brightened, or the same scene twice.

Axes: N photos, M photos that they are compared with, P pairs.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.photo_set import SPLITS, NearDuplicate, Photo

# On 300 photos of Grocery Store at most 4 of 64 bits differed after halving the size, 3 after JPEG
# at quality 40; two photos of different scenes differed in 8 or more.
MAX_DIFFERENT_BITS = 4

# Up to here no val photo of Grocery Store's official splits, which come from different shops, resembles
# a train photo of its label (the closest differ in 15 bits), while 6 % of train resemble another there.
MAX_SCENE_BITS = 12

# Bounds the memory of one comparison: 75,000 photos of Food-101 times 64 are 38 MB.
_NUM_ROWS = 64


def find_near_duplicates(photos: Sequence[Photo]) -> Iterator[NearDuplicate]:
    """Yield every photo that resembles one of an earlier split (order: train, val, test), with the closest of them."""
    prints_N = _read_fingerprints(photos)
    ranks_N = np.array([SPLITS.index(photo.split) for photo in photos])
    for rank in range(1, len(SPLITS)):
        later, earlier = np.flatnonzero(ranks_N == rank), np.flatnonzero(ranks_N < rank)
        for start in range(0, len(later) if len(earlier) else 0, _NUM_ROWS):
            rows = later[start : start + _NUM_ROWS]
            distances_NM = np.bitwise_count(prints_N[rows, None] ^ prints_N[earlier])
            twins = earlier[distances_NM.argmin(axis=1)]
            for index in np.flatnonzero(distances_NM.min(axis=1) <= MAX_DIFFERENT_BITS):
                yield NearDuplicate(photos[rows[index]], photos[twins[index]])


def find_similar(photos: Sequence[Photo], max_bits: int) -> Iterator[NDArray[np.intp]]:
    """Yield pairs_P2, some at a time: each two *photos* whose fingerprints differ in at most *max_bits* bits.

    The larger index is the first.
    """
    prints_N = _read_fingerprints(photos)
    for start in range(0, len(prints_N), _NUM_ROWS):
        rows = prints_N[start : start + _NUM_ROWS]
        similar_NM = np.bitwise_count(rows[:, None] ^ prints_N[: start + len(rows)]) <= max_bits
        pairs_P2 = np.argwhere(similar_NM) + np.array([start, 0])
        yield pairs_P2[pairs_P2[:, 1] < pairs_P2[:, 0]]


def _read_fingerprints(photos: Sequence[Photo]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(photo.fingerprint for photo in photos), dtype=np.uint64)
