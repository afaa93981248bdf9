"""The one preprocessing: training, evaluation and serving all call it. Axes: H height, W width, C channel."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.decode import decode_photo
from handler.settings import Limits
from handler.spec import Preprocessing


def preprocess_photo(photo: bytes | bytearray, preprocessing: Preprocessing, limits: Limits) -> NDArray[np.uint8]:
    """Return *photo* as uint8 HWC, RGB in [0, 255], square; raise a `Problem`."""
    short_side = math.ceil(preprocessing.size / preprocessing.crop)
    return preprocess_image(decode_photo(photo, limits, short_side), preprocessing)


def preprocess_image(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return the central square of an RGB *image*, resampled, as uint8 HWC in [0, 255]."""
    # In one step, the same as scaling the short side to size / crop and cropping the centre.
    side = min(image.size) * preprocessing.crop
    left, top = (image.width - side) / 2, (image.height - side) / 2
    square = image.resize(
        (preprocessing.size, preprocessing.size),
        Image.Resampling[preprocessing.interpolation.upper()],
        box=(left, top, left + side, top + side),
    )
    return np.asarray(square)
