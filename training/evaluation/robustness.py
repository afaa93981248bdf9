"""Accuracy under what spoils real photos: blur, noise, compression, darkness, rotation. Axes: B, C channel, H, W."""

import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode  # type: ignore[import-untyped]  # ships no types
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

from handler.spec import Preprocessing
from training.data.photo_set import Photo
from training.evaluation.network_outputs import predict_batches
from training.loader import Example, derive_seed, serve_batches

Corruption = Callable[[Tensor, float], Tensor]
"""From a uint8 CHW photo and a strength to a uint8 CHW photo; randomness is torch's."""


def measure_robustness(
    network: nn.Module, photos: Sequence[Photo], labels: Sequence[str], preprocessing: Preprocessing, batch: int
) -> dict[str, dict[str, float]]:
    """Return the top-1 of *photos* by corruption and degree; `none` has that of the photos as they are."""
    figures: dict[str, dict[str, float]] = {}
    for name, (corruption, strengths) in _CORRUPTIONS.items():
        figures[name] = {}
        for degree, strength in strengths.items():
            batches = corrupt_batches(serve_batches(photos, labels, preprocessing, batch), corruption, strength)
            figures[name][degree] = float(predict_batches(network, batches, preprocessing).right.mean())
    return figures


def corrupt_batches(batches: Iterable[Example], corruption: Corruption, strength: float) -> Iterator[Example]:
    """Yield *batches* with one *corruption*, the same pixels each time."""
    numbers = itertools.count()
    for photos_BCHW, classes_B in batches:
        corrupted = []
        with torch.random.fork_rng(devices=[]):
            for photo_CHW in photos_BCHW:
                torch.manual_seed(derive_seed(next(numbers)))
                corrupted.append(corruption(photo_CHW, strength))
        yield torch.stack(corrupted), classes_B


def blur(photo_CHW: Tensor, radius_share: float) -> Tensor:
    """Blur with a Gaussian whose standard deviation is *radius_share* of the photo's side."""
    sigma = radius_share * photo_CHW.shape[1]
    blurred_CHW: Tensor = functional.gaussian_blur(photo_CHW, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma, sigma])
    return blurred_CHW


def add_noise(photo_CHW: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise of *deviation* in grey levels."""
    noisy_CHW: Tensor = functional.gaussian_noise(photo_CHW / 255, sigma=deviation / 255)
    return (noisy_CHW * 255).round().to(torch.uint8)


def compress(photo_CHW: Tensor, quality: float) -> Tensor:
    """Write and read the photo as a JPEG of *quality* in 1 to 95."""
    # torchvision's own encoder is deprecated.
    jpeg = io.BytesIO()
    functional.to_pil_image(photo_CHW).save(jpeg, "JPEG", quality=int(quality))
    compressed_CHW: Tensor = functional.pil_to_tensor(Image.open(jpeg))
    return compressed_CHW


def rotate(photo_CHW: Tensor, degrees: float) -> Tensor:
    """Rotate the photo by *degrees* to a random side; the corners become grey."""
    angle = degrees if torch.rand(()) < 0.5 else -degrees
    rotated_CHW: Tensor = functional.rotate(photo_CHW, angle, InterpolationMode.BILINEAR, fill=[128.0] * 3)
    return rotated_CHW


_CORRUPTIONS: dict[str, tuple[Corruption, dict[str, float]]] = {
    "none": (lambda photo_CHW, _: photo_CHW, {"as is": 0.0}),
    "blur": (blur, {"mild": 0.005, "strong": 0.015}),
    "noise": (add_noise, {"mild": 12.0, "strong": 30.0}),
    "jpeg": (compress, {"mild": 30.0, "strong": 10.0}),
    "darkness": (functional.adjust_brightness, {"mild": 0.5, "strong": 0.2}),
    "rotation": (rotate, {"mild": 15.0, "strong": 45.0}),
}
