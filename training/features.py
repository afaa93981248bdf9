"""A frozen network's features, computed once for a data set and kept.

Axes: N photos, D embedding, K class.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import msgspec
import numpy as np
from torch import nn
from torch.utils.data import DataLoader

from handler.spec import Preprocessing
from training.evaluation.network_outputs import Predictions, predict_batches
from training.loader import Example
from training.network import classifier_prefixes
from training.progress import track


def embed_split(
    network: nn.Module,
    batches: DataLoader[Example],
    preprocessing: Preprocessing,
    cache: Path,
    data: Sequence[str],
    *,
    mirror: bool = False,
    bfloat16: bool = False,
) -> Predictions:
    """Return the predictions for *batches*, from the folder *cache* if they were computed before.

    *data* names the photos: the set's digest and the split. The logits may come from another classifier: use the
    embeddings alone.
    """
    key = msgspec.json.encode([*data, digest_backbone(network), preprocessing, mirror, bfloat16])
    path = cache / f"{hashlib.sha256(key).hexdigest()[:32]}.npz"
    if path.exists():
        with np.load(path) as arrays:
            return Predictions(*(arrays[field.name] for field in fields(Predictions)))
    predictions = predict_batches(
        network, track(batches, f"computing features of {data[-1]}"), preprocessing, mirror=mirror, bfloat16=bfloat16
    )
    cache.mkdir(parents=True, exist_ok=True)
    partial = cache / f".{os.getpid()}-{path.name}"
    np.savez(partial, **{field.name: getattr(predictions, field.name) for field in fields(predictions)})
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
