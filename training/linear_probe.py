"""A linear probe: only the classifier is fitted, to the features of the frozen network, which are kept in a cache.

Axes: N photos, D embedding, K class.
"""

import hashlib
import os
import warnings
from dataclasses import asdict, fields
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
from training.evaluation.network_outputs import Predictions, predict_batches
from training.loader import serve_batches
from training.network import NetworkError, classifier_prefixes
from training.progress import track

Floats = NDArray[np.floating]

_STRENGTHS = (0.1, 0.3, 1.0)
"""Inverse weights of the L2 penalty that are tried, on features of unit variance over all."""


def has_linear_classifier(network: nn.Module) -> bool:
    """Return whether a probe can set the classifier of *network*."""
    return isinstance(network.get_classifier(), nn.Linear)  # type: ignore[operator]


def fit_linear_probe(network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing) -> Predictions:
    """Fit the linear classifier of *network* to train at each zoom, every second mirrored; raise `NetworkError`.

    Returns the features of train at the first zoom.
    """
    if not has_linear_classifier(network):
        raise NetworkError(f"{config.network.architecture} has no linear classifier; use recipe.method=finetune")
    val = embed_split(network, "val", config, photos, preprocessing)
    views = []
    for number, zoom in enumerate(config.recipe.probe_zooms):
        zoomed = msgspec.structs.replace(preprocessing, crop=preprocessing.crop * zoom)
        views.append(embed_split(network, "train", config, photos, zoomed, mirror=bool(number % 2)))
    weights_KD, biases_K = fit_classifier(views, val, class_weighting=config.recipe.class_weighting)
    classifier = network.get_classifier()  # type: ignore[operator]
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(weights_KD))
        classifier.bias.copy_(torch.from_numpy(biases_K))
    return views[0]


def fit_classifier(
    views: list[Predictions], val: Predictions, *, class_weighting: bool = False
) -> tuple[Floats, Floats]:
    """Return weights_KD and biases_K, with the penalty that fits *val* best; each train photo is in all *views*."""
    embeddings_ND = np.concatenate([view.embeddings_ND for view in views])
    classes_N = np.concatenate([view.classes_N for view in views])
    scale = embeddings_ND.std()
    probe = LogisticRegression(max_iter=200, warm_start=True, class_weight="balanced" if class_weighting else None)
    fitted = []
    for strength in track(_STRENGTHS, "fitting the linear probe", "penalties"):
        probe.set_params(C=strength / len(views))
        # One thread is three times as fast as two on matrices this small.
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            # A fit that ends early is usable; val chooses the best one.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(embeddings_ND / scale, classes_N)
        weights_KD, biases_K = probe.coef_ / scale, probe.intercept_.copy()
        if len(biases_K) == 1:
            # For two labels scikit-learn keeps one row: the second's logit above the first's.
            weights_KD, biases_K = (np.concatenate([-row, row]) / 2 for row in (weights_KD, biases_K))
        fitted.append((weights_KD, biases_K))
    return min(fitted, key=lambda found: mean_nll(val.embeddings_ND @ found[0].T + found[1], val.classes_N))


def embed_split(
    network: nn.Module,
    split: str,
    config: Config,
    photos: PhotoSet,
    preprocessing: Preprocessing,
    *,
    mirror: bool = False,
) -> Predictions:
    """Return the predictions for *split*; from the cache, the logits may come from another classifier."""
    bfloat16 = config.trainer.precision == "bf16-mixed"
    columns = [column.name for column in fields(Predictions)]
    made_from = [photos.digest, split, digest_backbone(network), preprocessing, mirror, bfloat16, columns]
    key = msgspec.json.encode(made_from)
    path = Path(config.data.cache) / "features" / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
    if path.exists():
        with np.load(path) as arrays:
            return Predictions(**arrays)
    batches = serve_batches(photos.of(split), photos.labels, preprocessing, config.recipe.batch, config.trainer.workers)
    shown = track(batches, f"computing features of {split}")
    predictions = predict_batches(network, shown, preprocessing, mirror=mirror, bfloat16=bfloat16)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    np.savez(partial, **asdict(predictions))
    partial.replace(path)
    return predictions


def digest_backbone(network: nn.Module) -> str:
    """Return a digest of all weights but the classifier's."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not name.startswith(classifier_prefixes(network)):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
