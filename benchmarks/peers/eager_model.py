"""The usual way to run a timm network: eager, with timm's transforms. B batch, C channel, H height, W width."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

from benchmarks.peers.classifier import Answer
from benchmarks.peers.eager_network import EagerNetwork


class EagerClassifier:
    """Loads weights.pth, which benchmarks/peers/prepare.py writes, and spec.json from *folder*."""

    def __init__(self, folder: Path) -> None:
        # Each of two workers has a core; by default both would take both.
        torch.set_num_threads(1)
        self._labels = json.loads((folder / "spec.json").read_text())["labels"]
        self._network = EagerNetwork(folder).eval()
        self._network.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
        self._transform = create_transform(**resolve_data_config(model=self._network.backbone))  # type: ignore[no-untyped-call]

    def classify(self, photos: Sequence[bytes]) -> list[Answer]:
        return self.classify_images([Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos])

    @torch.inference_mode()
    def classify_images(self, images: Sequence[Image.Image]) -> list[Answer]:
        photos_BCHW = torch.stack([self._transform(image) for image in images])
        probabilities_B, indices_B = self._network.classify(photos_BCHW).exp().max(dim=1)
        return [
            {"label": self._labels[index], "probability": round(probability, 6)}
            for probability, index in zip(probabilities_B.tolist(), indices_B.tolist(), strict=True)
        ]
