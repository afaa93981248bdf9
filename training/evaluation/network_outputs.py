"""The outputs of a network for photos in the serving preprocessing.

Axes: B batch, C channel, H height, W width, N photos, D embedding, K class.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handler.photo_statistics import measure_photos
from handler.spec import Preprocessing
from training.loader import Example


@dataclass(frozen=True)
class Features:
    """One row for each photo, in the photos' order: what a classifier learns from."""

    embeddings_ND: NDArray[np.float32]
    """Pooled features, the classifier's input."""
    classes_N: NDArray[np.int64]
    """The right class indices."""


@dataclass(frozen=True)
class Predictions(Features):
    """One row for each photo, in the photos' order: also what the classifier answers, and what the photo is like."""

    logits_NK: NDArray[np.float32]
    brightness_N: NDArray[np.float32]
    """This and the next ones as handler/photo_statistics.py measures them."""
    contrast_N: NDArray[np.float32]
    sharpness_N: NDArray[np.float32]
    anisotropy_N: NDArray[np.float32]

    @property
    def right(self) -> NDArray[np.bool_]:
        """For each photo whether its first label is right."""
        right_N: NDArray[np.bool_] = self.logits_NK.argmax(axis=1) == self.classes_N
        return right_N


def predict_batches(
    network: nn.Module,
    batches: Iterable[Example],
    preprocessing: Preprocessing,
    *,
    mirror: bool = False,
    bfloat16: bool = False,
) -> Predictions:
    """Return the outputs of *network* for uint8 *batches*, flipped horizontally with *mirror*.

    It computes in float32, or in *bfloat16*, which is precise enough for features to learn from. The
    network is left in evaluation mode and channels last.
    """
    network.eval().to(memory_format=torch.channels_last)  # 1.5 times as fast on CPUs
    device = next(network.parameters()).device
    mean_C11, std_C11 = (
        torch.tensor(values, device=device)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    parts = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for photos_BCHW, classes_B in batches:
            inputs_BCHW = photos_BCHW.to(device).float().contiguous(memory_format=torch.channels_last)
            if mirror:
                inputs_BCHW = inputs_BCHW.flip(-1)
            features_BCHW = network.forward_features((inputs_BCHW - mean_C11 * 255.0) / (std_C11 * 255.0))  # type: ignore[operator]
            embeddings_BD = network.forward_head(features_BCHW, pre_logits=True)  # type: ignore[operator]
            logits_BK = network.get_classifier()(embeddings_BD)  # type: ignore[operator]
            statistics = map(torch.from_numpy, measure_photos(photos_BCHW.permute(0, 2, 3, 1).numpy()))
            parts.append((embeddings_BD.float(), torch.as_tensor(classes_B), logits_BK.float(), *statistics))
    return Predictions(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))
