"""Which photos show one scene, so that no chosen split has some of them in train and others in val.

A network recognises the scene, not the label, in a photo whose near copy it has learned: on Grocery Store a random
split by photo gives 0.98 where photos of other shops give 0.88 (docs/training_log.md). Axes: N photos, P pairs.
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


def assign_scenes(photos: Sequence[Photo]) -> list[Photo]:
    """Return *photos*, each with its scene.

    Photos are of one scene where their source says so, where their files are equal, and where they have one label and
    resemble each other. Names of scenes depend only on what the source says and on the files' contents.
    """
    plain_N = _join(len(photos), np.array([*_pair_certain(photos)], np.intp).reshape(-1, 2))
    scenes_N = _join_similar(photos, plain_N)
    if not _are_divisible(photos, scenes_N) and _are_divisible(photos, plain_N):
        _LOG.warning(
            "the photos of every label resemble each other; if val is taken from them, its figures are too high"
        )
        scenes_N = plain_N
    names = _name_scenes(photos, scenes_N)
    return [replace(photo, scene=names[scene]) for photo, scene in zip(photos, scenes_N.tolist(), strict=True)]


def _pair_certain(photos: Sequence[Photo]) -> Iterator[tuple[int, int]]:
    """Yield each photo with the first one of the same scene by its source, and with the first equal file."""
    first: dict[Hashable, int] = {}
    for index, photo in enumerate(photos):
        yield index, first.setdefault(("file", photo.digest), index)
        if photo.scene is not None:
            yield index, first.setdefault(("scene", photo.scene), index)


def _join_similar(photos: Sequence[Photo], scenes_N: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return *scenes_N* with those joined that have photos of one label which resemble each other."""
    by_label: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        by_label[photo.label].append(index)
    for indices in by_label.values():
        # Some pairs at a time: frames of one film have as many as the square of their number.
        for pairs_P2 in find_similar([photos[index] for index in indices], MAX_SCENE_BITS):
            if len(pairs_P2):
                scenes_N = _join(int(scenes_N.max()) + 1, scenes_N[np.array(indices)[pairs_P2]])[scenes_N]
    return scenes_N


def _join(count: int, pairs_P2: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return for each of *count* numbers its scene, equal where *pairs_P2* connect them directly or through others."""
    graph = coo_array((np.ones(len(pairs_P2), dtype=bool), tuple(pairs_P2.T)), shape=(count, count))
    scenes: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return scenes


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
