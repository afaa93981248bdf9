"""A linear probe: the classifier alone, fitted to frozen features.

Axes: N photos, D embedding, K class.
"""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from torch import nn

from training.calibration import mean_nll
from training.network import NetworkError
from training.predict import Predictions

Floats = NDArray[np.floating]

_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse weights of the L2 penalty that are tried, on features of unit variance."""


def fit_probe(train: Predictions, val: Predictions, *, class_weighting: bool = False) -> tuple[Floats, Floats]:
    """Return weights_KD and biases_K for embeddings as they are; the penalty is that of the least NLL on *val*.

    Every class must have a photo in *train*.
    """
    mean_D, std_D = train.embeddings_ND.mean(axis=0), train.embeddings_ND.std(axis=0) + 1e-6
    train_ND, val_ND = ((split.embeddings_ND - mean_D) / std_D for split in (train, val))
    weight = "balanced" if class_weighting else None
    probes = [_fit_classifier(train_ND, train.classes_N, strength, weight) for strength in _STRENGTHS]
    weights_KD, biases_K = min(probes, key=lambda probe: mean_nll(val_ND @ probe[0].T + probe[1], val.classes_N))
    weights_KD = weights_KD / std_D
    return weights_KD.astype(np.float32), (biases_K - weights_KD @ mean_D).astype(np.float32)


def set_classifier(network: nn.Module, weights_KD: Floats, biases_K: Floats) -> None:
    """Make them the classifier of *network*; raise `NetworkError` if that is not linear."""
    classifier = network.get_classifier()  # type: ignore[operator]
    if not isinstance(classifier, nn.Linear):
        raise NetworkError(
            f"a probe needs a linear classifier, this network has a {type(classifier).__name__}; "
            "use recipe.method=finetune"
        )
    with torch.no_grad():
        classifier.weight.copy_(torch.from_numpy(weights_KD))
        classifier.bias.copy_(torch.from_numpy(biases_K))


def _fit_classifier(
    features_ND: Floats, classes_N: NDArray[np.int64], strength: float, weight: str | None
) -> tuple[Floats, Floats]:
    probe = LogisticRegression(C=strength, max_iter=300, class_weight=weight)
    with warnings.catch_warnings():
        # Cut short it is still a probe; val decides whether it is the best one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(features_ND, classes_N)
    if len(probe.classes_) == 2:
        # Of two labels scikit-learn keeps one row: the second's logit above the first's.
        return np.concatenate([-probe.coef_, probe.coef_]) / 2, np.concatenate(
            [-probe.intercept_, probe.intercept_]
        ) / 2
    return probe.coef_, probe.intercept_
