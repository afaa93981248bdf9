"""A linear probe: only the classifier is fitted, to the features of the frozen network.

Axes: N photos, D embedding, K class.
"""

import warnings
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from handler.spec import Preprocessing
from training.config import Config
from training.data.photo_set import PhotoSet
from training.evaluation.calibration import mean_nll
from training.evaluation.network_outputs import Predictions
from training.features import embed_split
from training.loader import serve_batches
from training.network import NetworkError
from training.progress import track

Floats = NDArray[np.floating]

_STRENGTHS = (0.1, 0.3, 1.0)
"""Inverse weights of the L2 penalty that are tried, on features of unit variance over all."""


def fit_linear_probe(network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing) -> None:
    """Fit the classifier of *network* to the train photos at each zoom, every second time mirrored."""
    val = _embed(network, "val", config, photos, preprocessing)
    views = []
    for number, zoom in enumerate(config.recipe.probe_zooms):
        zoomed = msgspec.structs.replace(preprocessing, crop=preprocessing.crop * zoom)
        views.append(_embed(network, "train", config, photos, zoomed, mirror=bool(number % 2)))
    embeddings_ND = np.concatenate([view.embeddings_ND for view in views])
    classes_N = np.concatenate([view.classes_N for view in views])
    weights_KD, biases_K = fit_classifier(
        embeddings_ND, classes_N, val, num_views=len(views), class_weighting=config.recipe.class_weighting
    )
    set_classifier(network, weights_KD, biases_K)


def fit_classifier(
    embeddings_ND: Floats,
    classes_N: NDArray[np.int64],
    val: Predictions,
    *,
    num_views: int = 1,
    class_weighting: bool = False,
) -> tuple[Floats, Floats]:
    """Return weights_KD and biases_K, with the penalty of the least negative log-likelihood on *val*.

    Each train photo has *num_views* rows; every class must have one.
    """
    scale = embeddings_ND.std()
    probe = LogisticRegression(max_iter=200, warm_start=True, class_weight="balanced" if class_weighting else None)
    fitted = []
    for strength in track(_STRENGTHS, "fitting the linear probe", "penalties"):
        probe.set_params(C=strength / num_views)
        # One thread is three times as fast as two on matrices this small.
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            # A fit that ends early is usable; val chooses the best one.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(embeddings_ND / scale, classes_N)
        weights_KD, biases_K = _read_classifier(probe)
        fitted.append((weights_KD / scale, biases_K))
    return min(fitted, key=lambda found: mean_nll(val.embeddings_ND @ found[0].T + found[1], val.classes_N))


def set_classifier(network: nn.Module, weights_KD: Floats, biases_K: Floats) -> None:
    """Set the classifier of *network*; raise `NetworkError` if it is not linear."""
    classifier = network.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear):
        raise NetworkError(
            f"a probe needs a linear classifier, this network has a {type(classifier).__name__}; "
            "use recipe.method=finetune"
        )
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(weights_KD))
        classifier.bias.copy_(torch.from_numpy(biases_K))


def _embed(
    network: nn.Module,
    split: str,
    config: Config,
    photos: PhotoSet,
    preprocessing: Preprocessing,
    *,
    mirror: bool = False,
) -> Predictions:
    batches = serve_batches(photos.of(split), photos.labels, preprocessing, config.recipe.batch, config.trainer.workers)
    cache = Path(config.data.cache) / "features"
    bfloat16 = config.trainer.precision == "bf16-mixed"
    return embed_split(network, batches, preprocessing, cache, (photos.digest, split), mirror=mirror, bfloat16=bfloat16)


def _read_classifier(probe: LogisticRegression) -> tuple[Floats, Floats]:
    if len(probe.classes_) > 2:
        return probe.coef_.copy(), probe.intercept_.copy()
    # For two labels scikit-learn keeps one row: the second's logit above the first's.
    return np.concatenate([-probe.coef_, probe.coef_]) / 2, np.concatenate([-probe.intercept_, probe.intercept_]) / 2
