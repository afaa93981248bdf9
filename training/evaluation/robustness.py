"""Accuracy under what spoils photos in the field: blur, noise, compression, darkness, a tilted hand.

Axes: B batch, C channel, H height, W width, N photos.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import nn
from torch.utils.data import DataLoader, Dataset

from handler.spec import Preprocessing
from training.data.photo_set import Photo
from training.evaluation.network_outputs import predict_batches
from training.loader import Example, ServedPhotos, derive_seed

Pixels = NDArray[np.uint8]
Corruption = Callable[[Pixels, float, np.random.Generator], Pixels]

_GREY = (128, 128, 128)


def measure_robustness(
    network: nn.Module, photos: Sequence[Photo], labels: Sequence[str], preprocessing: Preprocessing, batch: int
) -> dict[str, dict[str, float]]:
    """Return the top-1 of *photos* by corruption and its strength, beside `none`: the photos as they are."""
    served = ServedPhotos(photos, labels, preprocessing)
    figures: dict[str, dict[str, float]] = {}
    for name, (corruption, strengths) in _CORRUPTIONS.items():
        for degree, strength in strengths.items():
            corrupted = CorruptedPhotos(served, corruption, strength)
            figures.setdefault(name, {})[degree] = _measure_top1(network, corrupted, preprocessing, batch)
    return {"none": {"as is": _measure_top1(network, served, preprocessing, batch)}, **figures}


class CorruptedPhotos(Dataset[Example]):
    """*served* photos with one *corruption*; the same ones each time."""

    def __init__(self, served: ServedPhotos, corruption: Corruption, strength: float) -> None:
        self._served = served
        self._corruption = corruption
        self._strength = strength

    def __len__(self) -> int:
        return len(self._served)

    def __getitem__(self, index: int) -> Example:
        photo_CHW, class_index = self._served[index]
        random = np.random.default_rng(derive_seed(index))
        spoilt_HWC = self._corruption(photo_CHW.permute(1, 2, 0).numpy(), self._strength, random)
        return torch.from_numpy(spoilt_HWC).permute(2, 0, 1), class_index


def blur(photo_HWC: Pixels, radius_share: float, random: np.random.Generator) -> Pixels:
    """Blur with a Gaussian of *radius_share* of the photo's side."""
    radius = radius_share * photo_HWC.shape[0]
    return _to_pixels(Image.fromarray(photo_HWC).filter(ImageFilter.GaussianBlur(radius)))


def add_noise(photo_HWC: Pixels, deviation: float, random: np.random.Generator) -> Pixels:
    """Add Gaussian noise of *deviation* in grey levels."""
    noisy_HWC = photo_HWC + random.normal(0.0, deviation, photo_HWC.shape)
    return np.asarray(np.clip(np.rint(noisy_HWC), 0, 255), dtype=np.uint8)


def compress(photo_HWC: Pixels, quality: float, random: np.random.Generator) -> Pixels:
    """Write and read the photo as a JPEG of *quality* in 1 to 95."""
    jpeg = io.BytesIO()
    Image.fromarray(photo_HWC).save(jpeg, "JPEG", quality=int(quality))
    return _to_pixels(Image.open(jpeg))


def darken(photo_HWC: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """Leave *share* of the light."""
    return np.asarray(np.rint(photo_HWC * share), dtype=np.uint8)


def rotate(photo_HWC: Pixels, degrees: float, random: np.random.Generator) -> Pixels:
    """Turn the photo by *degrees* to a random side; the corners become grey."""
    angle = degrees * random.choice((-1, 1))
    return _to_pixels(Image.fromarray(photo_HWC).rotate(angle, Image.Resampling.BICUBIC, fillcolor=_GREY))


_CORRUPTIONS: dict[str, tuple[Corruption, dict[str, float]]] = {
    "blur": (blur, {"mild": 0.005, "strong": 0.015}),
    "noise": (add_noise, {"mild": 12.0, "strong": 30.0}),
    "jpeg": (compress, {"mild": 30.0, "strong": 10.0}),
    "darkness": (darken, {"mild": 0.5, "strong": 0.2}),
    "rotation": (rotate, {"mild": 15.0, "strong": 45.0}),
}


def _measure_top1(network: nn.Module, photos: Dataset[Example], preprocessing: Preprocessing, batch: int) -> float:
    predictions = predict_batches(network, DataLoader(photos, batch_size=batch), preprocessing)
    return float((predictions.logits_NK.argmax(axis=1) == predictions.classes_N).mean())


def _to_pixels(image: Image.Image) -> Pixels:
    return np.array(image)
