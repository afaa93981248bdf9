"""The network in eager torch. Imports nothing of ours: it also goes into an archive for TorchServe's own handler.

Axes: B batch, C channel, H height, W width, O output of the network, K label.
"""

import json
from pathlib import Path

import timm
import torch
from torch import Tensor, nn


class EagerNetwork(nn.Module):
    """timm's network, and the sum of its outputs into labels, as the spec.json beside this file or in *folder* says."""

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        super().__init__()
        spec = json.loads((folder / "spec.json").read_text())
        self.backbone = timm.create_model(spec["architecture"], num_classes=spec["num_outputs"])
        groups = spec["label_outputs"] or [[output] for output in range(spec["num_outputs"])]
        self.membership_OK = nn.Buffer(torch.zeros(spec["num_outputs"], len(groups)))
        for label, outputs in enumerate(groups):
            self.membership_OK[outputs, label] = 1.0
        # TorchServe's image_classifier scales by ImageNet's mean and std, also for networks that need others.
        own = spec["preprocessing"]
        self.mean_C11, self.std_C11 = _as_buffer(own["mean"]), _as_buffer(own["std"])
        self.imagenet_mean_C11 = _as_buffer([0.485, 0.456, 0.406])
        self.imagenet_std_C11 = _as_buffer([0.229, 0.224, 0.225])

    def forward(self, photos_BCHW: Tensor) -> Tensor:
        """Return log-probabilities_BK for photos scaled by ImageNet's mean and std."""
        unscaled_BCHW = photos_BCHW * self.imagenet_std_C11 + self.imagenet_mean_C11
        return self.classify((unscaled_BCHW - self.mean_C11) / self.std_C11)

    def classify(self, photos_BCHW: Tensor) -> Tensor:
        """Return log-probabilities_BK for photos scaled by the network's own mean and std."""
        probabilities_BO = torch.softmax(self.backbone(photos_BCHW), dim=1)
        return torch.log(probabilities_BO @ self.membership_OK)


def _as_buffer(values: list[float]) -> nn.Buffer:
    return nn.Buffer(torch.tensor(values).view(3, 1, 1))
