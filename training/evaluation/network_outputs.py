"""The outputs of a network for photos in the serving preprocessing.

Axes: B batch, C channel, H height, W width, N photos, D embedding, K class.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from handler.spec import Preprocessing
from training.loader import Example

# ITU-R BT.601, as in Pillow's conversion to grey.
_LUMA_C = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Predictions:
    """One row for each photo, in the photos' order."""

    logits_NK: NDArray[np.float32]
    embeddings_ND: NDArray[np.float32]
    """Pooled features, the classifier's input."""
    classes_N: NDArray[np.int64]
    """The right class indices."""
    brightness_N: NDArray[np.float32]
    """Mean luma of the preprocessed photo, in [0, 1]."""
    contrast_N: NDArray[np.float32]
    """Standard deviation of that luma."""

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
    mean_C11, std_C11, luma_C11 = (
        torch.tensor(values, device=device)[:, None, None]
        for values in (preprocessing.mean, preprocessing.std, _LUMA_C)
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
            luma_BP = (inputs_BCHW * luma_C11).sum(dim=1).flatten(1) / 255.0
            light = luma_BP.mean(dim=1), luma_BP.std(dim=1)
            parts.append((logits_BK.float(), embeddings_BD.float(), torch.as_tensor(classes_B), *light))
    return Predictions(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))
