"""Statistics of photos and of their predictions, whose drift is watched.

Axes: B batch, H height, W width, C channel, K class, S strip; R the three rows of a strip.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handler.engine import Floats, Photos

# ITU-R BT.601, of channels in [0, 255].
_LUMA_C = np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255
# Of each sixteen rows three are read, which takes a tenth of the time that all rows take.
_STRIP_ROWS = 16
# The logarithm of 0 is not needed, since it is multiplied by 0.
_MIN_PROBABILITY = 1e-12


class PhotoStatistics(NamedTuple):
    """One entry for each photo, in [0, 1]."""

    brightness_B: Floats
    """Mean luma."""
    contrast_B: Floats
    """Standard deviation of the luma."""
    sharpness_B: Floats
    """Mean absolute Laplacian of the luma, over four neighbours; of at most 4, it is cut at 1."""
    anisotropy_B: Floats
    """Share of the luma's changes that are from row to row, not from column to column. A photo that is turned by 90
    degrees has one minus it."""


def measure_photos(photos_BHWC: Photos) -> PhotoStatistics:
    """Return the statistics of preprocessed photos, uint8 RGB."""
    batch, height, width, channels = photos_BHWC.shape
    num_strips = height // _STRIP_ROWS
    strips = photos_BHWC[:, : num_strips * _STRIP_ROWS].reshape(batch, num_strips, _STRIP_ROWS, width, channels)
    luma_BSRW = strips[:, :, :3].astype(np.float32) @ _LUMA_C
    above_BSW, middle_BSW, below_BSW = (luma_BSRW[:, :, row] for row in range(3))
    laplacian_BSW = 4 * middle_BSW[:, :, 1:-1]
    for neighbours_BSW in (middle_BSW[:, :, :-2], middle_BSW[:, :, 2:], above_BSW[:, :, 1:-1], below_BSW[:, :, 1:-1]):
        laplacian_BSW -= neighbours_BSW
    sharpness_B = np.abs(laplacian_BSW, out=laplacian_BSW).mean(axis=(1, 2))
    luma_BP = luma_BSRW.reshape(batch, -1)
    brightness_B = luma_BP.mean(axis=1)
    squares_B = np.einsum("bp,bp->b", luma_BP, luma_BP) / luma_BP.shape[1]
    contrast_B = np.sqrt(np.maximum(squares_B - brightness_B**2, 0.0))
    return PhotoStatistics(brightness_B, contrast_B, np.minimum(sharpness_B, 1.0), _measure_anisotropy(luma_BSRW))


def _measure_anisotropy(luma_BSRW: NDArray[np.floating]) -> Floats:
    vertical_B = np.abs(luma_BSRW[:, :, 1] - luma_BSRW[:, :, 0]).mean(axis=(1, 2))
    horizontal_B = np.abs(np.diff(luma_BSRW[:, :, 1], axis=2)).mean(axis=(1, 2))
    # A photo of one colour has no direction.
    both_B = vertical_B + horizontal_B
    return np.divide(vertical_B, both_B, out=np.full_like(both_B, 0.5), where=both_B > 0)  # type: ignore[no-any-return]


def measure_entropy(probabilities_BK: Floats) -> Floats:
    """Return the entropy_B of each photo's probabilities over that of equal ones (ln K), in [0, 1]."""
    logs_BK = np.log(np.maximum(probabilities_BK, _MIN_PROBABILITY))
    entropy_B = -(probabilities_BK * logs_BK).sum(axis=1) / np.log(probabilities_BK.shape[1])
    return np.clip(entropy_B, 0.0, 1.0)  # type: ignore[no-any-return]
