"""The drift reference: inputs and outputs of the model on val, to compare production with.

Axes: N photos, D embedding, K class, E edges of a histogram.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.calibration import to_probabilities
from training.evaluation.network_outputs import Predictions

_NUM_BINS = 10
_MAX_EMBEDDINGS = 512


def summarize_reference(predictions: Predictions, temperature: float, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return the arrays of reference.npz.

    - `label_shares_K`: share of the photos whose first label is k, as the model answers;
    - `confidence_edges_E`, `confidence_shares`, and the same for `brightness` and `contrast`: ten
      bins of about equal share, open at both ends, for PSI;
    - `embedding_mean_D`, `embedding_std_D`, and `embeddings_ND`: at most 512 of them, for MMD.
    """
    probabilities_NK = to_probabilities(predictions.logits_NK, temperature)
    num_photos, num_labels = probabilities_NK.shape
    answers_N = probabilities_NK.argmax(axis=1)
    chosen = np.random.default_rng(seed).permutation(num_photos)[:_MAX_EMBEDDINGS]
    return {
        "num_photos": np.array(num_photos),
        "label_shares_K": (np.bincount(answers_N, minlength=num_labels) / num_photos).astype(np.float32),
        **_bin_values("confidence", probabilities_NK.max(axis=1)),
        **_bin_values("brightness", predictions.brightness_N),
        **_bin_values("contrast", predictions.contrast_N),
        "embedding_mean_D": predictions.embeddings_ND.mean(axis=0),
        "embedding_std_D": predictions.embeddings_ND.std(axis=0),
        "embeddings_ND": predictions.embeddings_ND[np.sort(chosen)].astype(np.float16),
    }


def _bin_values(name: str, values_N: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    edges_E = np.unique(np.quantile(values_N, np.linspace(0.0, 1.0, _NUM_BINS + 1)[1:-1])).astype(np.float32)
    bins_N = np.searchsorted(edges_E, values_N, side="right")
    shares = np.bincount(bins_N, minlength=len(edges_E) + 1) / len(values_N)
    return {f"{name}_edges_E": edges_E, f"{name}_shares": shares.astype(np.float32)}
