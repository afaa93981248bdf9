"""The one preprocessing: training, evaluation and serving all call it. Axes: H height, W width, C channel."""

import math
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.decode import Header, decode_with_header
from handler.settings import Limits
from handler.spec import Preprocessing


class ModelInput(NamedTuple):
    """A photo as the model gets it."""

    photo: bytes | bytearray
    """As it was sent."""
    photo_HWC: NDArray[np.uint8]
    """RGB in [0, 255], square."""
    header: Header
    decode_seconds: float
    preprocess_seconds: float
    """The time that resampling took."""


def preprocess_photo(photo: bytes | bytearray, preprocessing: Preprocessing, limits: Limits) -> NDArray[np.uint8]:
    """Return *photo* as uint8 HWC, RGB in [0, 255], square; raise a `Problem`."""
    return preprocess_with_header(photo, preprocessing, limits).photo_HWC


def preprocess_with_header(photo: bytes | bytearray, preprocessing: Preprocessing, limits: Limits) -> ModelInput:
    """Return what `preprocess_photo` does, with the photo's header and the time that it took."""
    started = time.perf_counter()
    image, header = decode_with_header(photo, limits, math.ceil(preprocessing.size / preprocessing.crop))
    decoded = time.perf_counter()
    photo_HWC = preprocess_image(image, preprocessing)
    return ModelInput(photo, photo_HWC, header, decoded - started, time.perf_counter() - decoded)


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
