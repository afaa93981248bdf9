"""One photo that was answered: what came in and what the model said, for the metrics and the prediction log."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from handler.answer import Prediction
from handler.engine import Photos
from handler.photo_statistics import measure_entropy, measure_photos
from handler.preprocess import ModelInput


class Statistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """The numbers of a photo that drift is watched by; reference.npz has the same of val."""

    confidence: float
    """Probability of the first label."""
    entropy: float
    brightness: float
    contrast: float
    sharpness: float
    anisotropy: float
    unfamiliarity: float | None = None
    """None: the archive cannot tell."""


class Observation(NamedTuple):
    model_input: ModelInput
    prediction: Prediction
    statistics: Statistics


def describe_photos(photos_BHWC: Photos, predictions: Sequence[Prediction]) -> list[Statistics]:
    """Return the statistics of preprocessed photos and of what the model said of them."""
    probabilities_BK = np.array([one.probabilities for one in predictions], dtype=np.float32)
    columns = {"entropy": measure_entropy(probabilities_BK)}
    columns |= {name.removesuffix("_B"): column_B for name, column_B in measure_photos(photos_BHWC)._asdict().items()}
    rows = zip(*(np.round(column_B.astype(np.float64), 6).tolist() for column_B in columns.values()), strict=True)
    return [
        Statistics(
            confidence=round(prediction.probabilities[0], 6),
            unfamiliarity=None if prediction.unfamiliarity is None else round(prediction.unfamiliarity, 6),
            **dict(zip(columns, row, strict=True)),
        )
        for prediction, row in zip(predictions, rows, strict=True)
    ]
