"""Photos that were answered, as the handler records them."""

from typing import Any

import numpy as np

from handler.answer import Prediction
from handler.decode import Header
from handler.observation import Observation, Statistics
from handler.preprocess import ModelInput

APPLE = Prediction((0, 1, 2, 3), (0.7, 0.1, 0.1, 0.1), confident=True)
UNSURE_APPLE = Prediction((0, 1, 2, 3), (0.4, 0.3, 0.2, 0.1), confident=False)
CHERRY = Prediction((2, 1, 0, 3), (0.9, 0.1, 0.0, 0.0), confident=True)


def observe(prediction: Prediction, photo: bytes = b"photo", side: int = 8, **statistics: Any) -> Observation:
    """Return *photo* with its *prediction*; *statistics* replace the usual ones."""
    header = Header(640, 480, "image/jpeg")
    photo_HWC = np.full((side, side, 3), 128, dtype=np.uint8)
    usual = {"confidence": prediction.probabilities[0], "unfamiliarity": prediction.unfamiliarity}
    usual |= {"entropy": 0.25, "brightness": 0.5, "contrast": 0.125, "sharpness": 0.0625, "anisotropy": 0.5}
    given = ModelInput(photo, photo_HWC, header, decode_seconds=0.003, preprocess_seconds=0.002)
    return Observation(given, prediction, Statistics(**{**usual, **statistics}))
