"""A linear probe: only the classifier is fitted, to the features of the frozen network, which are kept in a cache.

Axes: N photos of a split, M photos in the cache, D embedding, K class.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import nn

from handler.spec import Preprocessing
from training.config import Config
from training.data.photo_set import PhotoSet
from training.evaluation.calibration import Floats, mean_nll
from training.evaluation.network_outputs import Features, predict_batches
from training.learned_photos import shorten_digests
from training.loader import serve_batches
from training.network import NetworkError, classifier_prefixes
from training.progress import track

_STRENGTHS = (0.1, 0.3, 1.0)
"""Inverse weights of the L2 penalty that are tried, on features of unit variance over all."""


def has_linear_classifier(network: nn.Module) -> bool:
    """Return whether a probe can set the classifier of *network*."""
    return isinstance(network.get_classifier(), nn.Linear)  # type: ignore[operator]


def fit_linear_probe(network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing) -> Features:
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


def fit_classifier(views: Sequence[Features], val: Features, *, class_weighting: bool = False) -> tuple[Floats, Floats]:
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
) -> Features:
    """Return the features of *split*. Those of a photo are computed once, also if several data sets have it."""
    bfloat16 = config.trainer.precision == "bf16-mixed"
    # Networks may differ in code alone, and Pillow decodes the photos.
    versions = [config.network.architecture, PIL.__version__]
    made_by = msgspec.json.encode([digest_backbone(network), *versions, preprocessing, mirror, bfloat16])
    folder = Path(config.data.cache) / "features" / hashlib.sha256(made_by).hexdigest()[:32]
    listed = photos.of(split)
    digests_N, classes_N = shorten_digests(listed), np.array([photos.labels.index(photo.label) for photo in listed])
    known_M, embeddings_MD = _read_embeddings(folder)
    new_N = ~np.isin(digests_N, known_M)
    if new_N.any():
        chosen = [photo for photo, is_new in zip(listed, new_N, strict=True) if is_new]
        batches = serve_batches(chosen, photos.labels, preprocessing, config.recipe.batch, config.trainer.workers)
        shown = track(batches, f"computing features of {split}")
        computed = predict_batches(network, shown, preprocessing, mirror=mirror, bfloat16=bfloat16)
        _write_embeddings(folder, digests_N[new_N], computed.embeddings_ND)
        known_M, embeddings_MD = _read_embeddings(folder)
    order_M = np.argsort(known_M)
    rows_N = order_M[np.searchsorted(known_M, digests_N, sorter=order_M)]
    return Features(embeddings_MD[rows_N], classes_N)


def _read_embeddings(folder: Path) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Return the digests of all photos in *folder* and their embeddings."""
    digests, embeddings = [np.empty(0, dtype=np.uint64)], []
    for path in sorted(folder.glob("[!.]*.npz")):
        with np.load(path) as arrays:
            digests.append(arrays["digests_N"])
            embeddings.append(arrays["embeddings_ND"])
    return np.concatenate(digests), np.concatenate(embeddings) if embeddings else np.empty((0, 0), dtype=np.float32)


def _write_embeddings(folder: Path, digests_N: NDArray[np.uint64], embeddings_ND: NDArray[np.float32]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(digests_N.tobytes()).hexdigest()[:16]
    partial = folder / f".{os.getpid()}-{name}.npz"
    np.savez(partial, allow_pickle=False, digests_N=digests_N, embeddings_ND=embeddings_ND)
    partial.replace(folder / f"{name}.npz")


def digest_backbone(network: nn.Module) -> str:
    """Return a digest of all weights but the classifier's."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        if not name.startswith(classifier_prefixes(network)):
            digest.update(f"{name} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
