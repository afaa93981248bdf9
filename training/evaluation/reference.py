"""The drift reference: inputs and outputs of the model on val, to compare production with.

Axes: N photos, M of them as samples, D embedding, K class, E edges of a histogram.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handler.familiarity import Familiarity
from handler.photo_statistics import measure_entropy
from training.evaluation.calibration import to_probabilities
from training.evaluation.network_outputs import Predictions

_NUM_BINS = 10
_MAX_SAMPLES = 512


def summarize_reference(
    predictions: Predictions,
    train_counts_K: Sequence[int],
    temperature: float,
    familiarity: Familiarity,
    seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """Return the arrays of reference.npz.

    - `label_shares_K`: share of the photos whose first label is k, as the model answers; `train_counts_K`: photos of
      train whose label is k;
    - by statistic of `handler/drift_reference.py` `<name>_edges_E` and `<name>_shares`: ten bins of about equal share,
      open at both ends, for PSI; and `<name>_N`: the values of at most 512 photos;
    - `embedding_mean_D`, `embedding_std_D`, and `embeddings_ND` of these 512 photos.

    The network must not have learned from the photos of *predictions*.
    """
    probabilities_NK = to_probabilities(predictions.logits_NK, temperature).astype(np.float32)
    num_photos, num_labels = probabilities_NK.shape
    answers_N = probabilities_NK.argmax(axis=1)
    samples_M = np.sort(np.random.default_rng(seed).permutation(num_photos)[:_MAX_SAMPLES])
    statistics = _list_statistics(predictions, probabilities_NK, familiarity)
    reference = {
        "num_photos": np.array(num_photos),
        "label_shares_K": (np.bincount(answers_N, minlength=num_labels) / num_photos).astype(np.float32),
        "train_counts_K": np.array(train_counts_K, dtype=np.int64),
        "embedding_mean_D": predictions.embeddings_ND.mean(axis=0),
        "embedding_std_D": predictions.embeddings_ND.std(axis=0),
        "embeddings_ND": predictions.embeddings_ND[samples_M].astype(np.float16),
    }
    for name, values_N in statistics.items():
        reference |= {f"{name}_N": values_N[samples_M].astype(np.float16), **_bin_values(name, values_N)}
    return reference


def _list_statistics(
    predictions: Predictions, probabilities_NK: NDArray[np.float32], familiarity: Familiarity
) -> dict[str, NDArray[np.floating]]:
    return {
        "confidence": probabilities_NK.max(axis=1),
        "entropy": measure_entropy(probabilities_NK),
        "unfamiliarity": familiarity.score(predictions.embeddings_ND),
        "brightness": predictions.brightness_N,
        "contrast": predictions.contrast_N,
        "sharpness": predictions.sharpness_N,
        "anisotropy": predictions.anisotropy_N,
    }


def _bin_values(name: str, values_N: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    edges_E = np.unique(np.quantile(values_N, np.linspace(0.0, 1.0, _NUM_BINS + 1)[1:-1])).astype(np.float32)
    bins_N = np.searchsorted(edges_E, values_N, side="right")
    shares = np.bincount(bins_N, minlength=len(edges_E) + 1) / len(values_N)
    return {f"{name}_edges_E": edges_E, f"{name}_shares": shares.astype(np.float32)}
