"""Which photos show one scene, so that no chosen split has some of them in train and others in val.

A network recognises the scene, not the label, in a photo whose near copy it has learned: on Grocery Store a random
split by photo gives 0.98 where photos of other shops give 0.88 (docs/training_log.md). Axes: N photos.
"""

import logging
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array  # type: ignore[import-untyped]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

from training.data.duplicates import MAX_SCENE_BITS, find_similar
from training.data.photo_set import Photo

_LOG = logging.getLogger(__name__)

_Pair = tuple[int, int]


def assign_scenes(photos: Sequence[Photo]) -> list[Photo]:
    """Return *photos*, each with its scene.

    Photos are of one scene where their source says so, where their files are equal, and where they have one label and
    resemble each other. Names of scenes depend only on what the source says and on the files' contents.
    """
    certain = list(_pair_certain(photos))
    scenes_N = _join(len(photos), [*certain, *_pair_similar(photos)])
    if not _are_divisible(photos, scenes_N):
        plain_N = _join(len(photos), certain)
        if _are_divisible(photos, plain_N):
            _LOG.warning(
                "the photos of every label resemble each other; if val is taken from them, its figures are too high"
            )
            scenes_N = plain_N
    names = _name_scenes(photos, scenes_N)
    return [replace(photo, scene=names[scene]) for photo, scene in zip(photos, scenes_N.tolist(), strict=True)]


def _pair_certain(photos: Sequence[Photo]) -> Iterator[_Pair]:
    """Yield each photo with the first one of the same scene by its source, and with the first equal file."""
    first: dict[Hashable, int] = {}
    for index, photo in enumerate(photos):
        yield index, first.setdefault(("file", photo.digest), index)
        if photo.scene is not None:
            yield index, first.setdefault(("scene", photo.scene), index)


def _pair_similar(photos: Sequence[Photo]) -> Iterator[_Pair]:
    """Yield photos of one label that resemble each other."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        by_label[photo.label].append(index)
    for indices in by_label.values():
        pairs = find_similar([photos[index] for index in indices], MAX_SCENE_BITS)
        yield from ((indices[one], indices[other]) for one, other in pairs)


def _join(num_photos: int, pairs: Sequence[_Pair]) -> NDArray[np.int32]:
    """Return scenes_N, equal for photos that *pairs* connect directly or through others."""
    rows, columns = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs), dtype=bool), (rows, columns)), shape=(num_photos, num_photos))
    scenes_N: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return scenes_N


def _are_divisible(photos: Sequence[Photo], scenes_N: NDArray[np.int32]) -> bool:
    """Return whether a label has photos of two scenes, so that there can be a val split."""
    pairs = {(photo.label, scene) for photo, scene in zip(photos, scenes_N.tolist(), strict=True)}
    return len(pairs) > len({label for label, _ in pairs})


def _name_scenes(photos: Sequence[Photo], scenes_N: NDArray[np.int32]) -> dict[int, str]:
    """Return for each scene the first name that its source has for it, or else the smallest digest in it."""
    names: dict[int, list[tuple[bool, str]]] = defaultdict(list)
    for photo, scene in zip(photos, scenes_N.tolist(), strict=True):
        names[scene].append((photo.scene is None, photo.scene or photo.digest))
    return {scene: min(found)[1] for scene, found in names.items()}
