"""What a network says of photos that went through the serving preprocessing.

Axes: B batch, C channel, H height, W width, N photos, D embedding, K class.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handler.spec import Preprocessing
from training.loader import Example

# ITU-R BT.601, what Pillow's grey is made with.
_LUMA_C = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Predictions:
    """One row a photo, in the photos' order."""

    logits_NK: NDArray[np.float32]
    embeddings_ND: NDArray[np.float32]
    """Pooled features, the classifier's input."""
    classes_N: NDArray[np.int64]
    """The right class indices."""
    brightness_N: NDArray[np.float32]
    """Mean luma of the served square, in [0, 1]."""
    contrast_N: NDArray[np.float32]
    """Standard deviation of that luma."""


def predict_batches(
    network: nn.Module,
    batches: Iterable[Example],
    preprocessing: Preprocessing,
    *,
    mirror: bool = False,
    bfloat16: bool = False,
) -> Predictions:
    """Return what *network* says of uint8 *batches*, of their mirror images with *mirror*.

    It computes in float32 unless in *bfloat16*, which is fast enough for features that are learned from.
    It is left in evaluation mode and channels last, as its inputs are.
    """
    network.eval().to(memory_format=torch.channels_last)  # half as fast again on CPUs
    device = next(network.parameters()).device
    mean_C11, std_C11 = (
        torch.tensor(values, device=device)[:, None, None] * 255.0 for values in (preprocessing.mean, preprocessing.std)
    )
    parts = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for photos_BCHW, classes_B in batches:
            inputs_BCHW = photos_BCHW.to(device).float().contiguous(memory_format=torch.channels_last)
            if mirror:
                inputs_BCHW = inputs_BCHW.flip(-1)
            embeddings_BD = embed(network, (inputs_BCHW - mean_C11) / std_C11)
            logits_BK = network.get_classifier()(embeddings_BD)  # type: ignore[operator]
            parts.append(
                (logits_BK.float(), embeddings_BD.float(), torch.as_tensor(classes_B), *_measure_light(inputs_BCHW))
            )
    return Predictions(*(torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)))


def embed(network: nn.Module, inputs_BCHW: Tensor) -> Tensor:
    """Return the pooled features, embeddings_BD."""
    embeddings_BD: Tensor = network.forward_head(network.forward_features(inputs_BCHW), pre_logits=True)  # type: ignore[operator]
    return embeddings_BD


def _measure_light(photos_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    weights_C11 = torch.tensor(_LUMA_C, device=photos_BCHW.device)[:, None, None]
    luma_BP = (photos_BCHW * weights_C11).sum(dim=1).flatten(1) / 255.0
    return luma_BP.mean(dim=1), luma_BP.std(dim=1)
