"""The photos that are sent: pictures of scikit-image as JPEG, small, middle and as a phone takes them."""

import io
from importlib.resources import files

import numpy as np
from PIL import Image, ImageOps

from benchmarks.endpoint import Photo

SMALL, MIDDLE, PHONE = "100x100", "512x512", "12 megapixels"
SIZES = {SMALL: (100, 100), MIDDLE: (512, 512), PHONE: (4000, 3000)}
MIX = "mix"
"""All sizes in turn."""

_PICTURES = ("coffee", "chelsea")
_QUALITY = 90
# Standard deviation, of 255. Without the grain of a sensor an enlarged picture makes a far smaller JPEG than a phone's.
_PHONE_GRAIN = 3.0


def make_photos() -> dict[str, list[Photo]]:
    """Return the photos by size, each picture in each size, without labels."""
    return {size: [Photo(f"{name} {size}", _draw(name, size)) for name in _PICTURES] for size in SIZES}


def _draw(name: str, size: str) -> bytes:
    image = Image.open(io.BytesIO((files("skimage") / "data" / f"{name}.png").read_bytes())).convert("RGB")
    photo = ImageOps.fit(image, SIZES[size], Image.Resampling.BICUBIC)
    if size == PHONE:
        photo = _add_grain(photo)
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=_QUALITY)
    return encoded.getvalue()


def _add_grain(image: Image.Image) -> Image.Image:
    pixels_HWC = np.asarray(image, dtype=np.float32)
    grain_HW1 = np.random.default_rng(0).normal(0.0, _PHONE_GRAIN, (*pixels_HWC.shape[:2], 1))
    return Image.fromarray((pixels_HWC + grain_HW1).clip(0, 255).astype(np.uint8))
