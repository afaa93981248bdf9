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

    membership_OK: Tensor
    mean_C11: Tensor
    std_C11: Tensor
    imagenet_mean_C11: Tensor
    imagenet_std_C11: Tensor

    def __init__(self, folder: Path = Path(__file__).parent) -> None:
        super().__init__()
        spec = json.loads((folder / "spec.json").read_text())
        self.backbone = timm.create_model(spec["architecture"], num_classes=spec["num_outputs"])
        groups = spec["label_outputs"] or [[output] for output in range(spec["num_outputs"])]
        membership_OK = torch.zeros(spec["num_outputs"], len(groups))
        for label, outputs in enumerate(groups):
            membership_OK[outputs, label] = 1.0
        self.register_buffer("membership_OK", membership_OK)
        photo = spec["preprocessing"]
        # TorchServe's image_classifier scales by ImageNet's mean and std, also for networks that need others.
        self.register_buffer("mean_C11", torch.tensor(photo["mean"]).view(3, 1, 1))
        self.register_buffer("std_C11", torch.tensor(photo["std"]).view(3, 1, 1))
        self.register_buffer("imagenet_mean_C11", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("imagenet_std_C11", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, photos_BCHW: Tensor) -> Tensor:
        """Return log-probabilities_BK for photos scaled by ImageNet's mean and std."""
        unscaled_BCHW = photos_BCHW * self.imagenet_std_C11 + self.imagenet_mean_C11
        return self.classify((unscaled_BCHW - self.mean_C11) / self.std_C11)

    def classify(self, photos_BCHW: Tensor) -> Tensor:
        """Return log-probabilities_BK for photos scaled by the network's own mean and std."""
        probabilities_BO = torch.softmax(self.backbone(photos_BCHW), dim=1)
        return torch.log(probabilities_BO @ self.membership_OK)
