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


def make_photos() -> dict[str, list[Photo]]:
    """Return the photos by size, each picture in each size, without labels."""
    return {size: [Photo(f"{name} {size}", _draw(name, size)) for name in ("coffee", "chelsea")] for size in SIZES}


def _draw(name: str, size: str) -> bytes:
    image = Image.open(io.BytesIO((files("skimage") / "data" / f"{name}.png").read_bytes())).convert("RGB")
    photo = ImageOps.fit(image, SIZES[size], Image.Resampling.BICUBIC)
    if size == PHONE:
        # Without the grain of a sensor an enlarged picture makes a far smaller JPEG than a phone's.
        pixels_HWC = np.asarray(photo, dtype=np.float32)
        grain_HW1 = np.random.default_rng(0).normal(0.0, 3.0, (*pixels_HWC.shape[:2], 1))
        photo = Image.fromarray((pixels_HWC + grain_HW1).clip(0, 255).astype(np.uint8))
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
