"""Class activation maps as pictures (Zhou et al., CVPR 2016). Axes as in engine.py."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.engine import Floats

# Five of matplotlib's `inferno` colours (CC0), dark to bright.
_COLOURS = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float32)
_MAX_OPACITY = 0.7


def draw_heatmap(activations_hw: Floats, size: int) -> NDArray[np.uint8]:
    """Return the map as uint8 HW of *size*, 0 at its lowest place and 255 at its highest."""
    lowest, highest = activations_hw.min(), activations_hw.max()
    shares_hw = (activations_hw - lowest) / max(highest - lowest, np.finfo(np.float32).tiny)
    small = Image.fromarray(np.rint(shares_hw * 255).astype(np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


def draw_overlay(photo_HWC: NDArray[np.uint8], heatmap_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the photo under the heatmap, whose opacity grows with its value."""
    shares_HW = heatmap_HW.astype(np.float32) / 255
    stops = np.linspace(0, 1, len(_COLOURS))
    colours_HWC = np.stack([np.interp(shares_HW, stops, _COLOURS[:, channel]) for channel in range(3)], axis=-1)
    opacity_HW1 = _MAX_OPACITY * shares_HW[..., None]
    return np.rint(photo_HWC * (1 - opacity_HW1) + colours_HWC * opacity_HW1).astype(np.uint8)


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return uint8 HW or HWC *pixels* as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
