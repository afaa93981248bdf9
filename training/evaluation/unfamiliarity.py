"""The statistics that tell unfamiliar photos: directions from embeddings of train, and a threshold from val.

Axes: N photos, D embedding, R direction.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from handler.familiarity import Familiarity, normalise
from handler.spec import Preprocessing
from training.config import Config
from training.data.photo_set import PhotoSet
from training.evaluation.network_outputs import Features, Predictions, predict_batches
from training.int8_photos import draw_evenly
from training.linear_probe import embed_split
from training.loader import serve_batches
from training.progress import track

REFUSED_SHARE = 0.05
"""Of val: the share of the photos that are called unfamiliar."""

_MAX_PHOTOS = 2000
# More directions separated no better, and they are most of what an archive grows by (docs/decisions/0017).
_MAX_DIRECTIONS = 96
_MIN_WIDTH_PER_DIRECTION = 8
_BATCH = 32


def embed_train(network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing) -> Features:
    """Return the features of train: all those that a probe was fitted to, else of 2,000 photos, evenly by label."""
    if config.recipe.method == "probe" and config.recipe.probe_zooms[0] == 1.0:
        # They are in the cache.
        return embed_split(network, "train", config, photos, preprocessing)
    chosen = draw_evenly(photos.of("train"), _MAX_PHOTOS, config.seed)
    batches = serve_batches(chosen, photos.labels, preprocessing, _BATCH)
    return predict_batches(network, track(batches, "embedding photos of train"), preprocessing)


def fit_familiarity(train: Features, val: Predictions) -> Familiarity:
    """Return the principal directions of *train*, with the distance over which a twentieth of *val* is as threshold.

    The network must not have learned from *val*: photos that it has learned are closer than new ones.
    """
    unit_ND = normalise(train.embeddings_ND.astype(np.float64))
    num_photos, width = unit_ND.shape
    num_directions = max(1, min(_MAX_DIRECTIONS, width // _MIN_WIDTH_PER_DIRECTION, num_photos))
    directions_DD = np.linalg.eigh(unit_ND.T @ unit_ND)[1][:, ::-1]
    # Rounded as they are stored, so that the threshold is one of what is served.
    directions_DR = directions_DD[:, :num_directions].astype(np.float16).astype(np.float32)
    distances_N = Familiarity(directions_DR, np.ones((), np.float32)).score(val.embeddings_ND)
    threshold = max(np.quantile(distances_N, 1.0 - REFUSED_SHARE), np.finfo(np.float32).tiny)
    return Familiarity(directions_DR, np.array(threshold, dtype=np.float32))


def store_familiarity(familiarity: Familiarity) -> dict[str, NDArray[Any]]:
    """Return the arrays of familiarity.npz."""
    return {"directions_DR": familiarity.directions_DR.astype(np.float16), "threshold": familiarity.threshold}
