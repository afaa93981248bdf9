"""The accuracy gate: does the network in int8 give the labels that it gives in float32.

Axes: N photos, K class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.engine import Floats

MAX_TOP1_LOSS = 0.005
MIN_AGREEMENT = 0.98
MIN_PHOTOS = round(1 / MAX_TOP1_LOSS)
"""With fewer photos, a single wrong one would exceed MAX_TOP1_LOSS."""

RULE = f"the limits are {100 * MAX_TOP1_LOSS:g} points of top-1 and {1 - MIN_AGREEMENT:.0%} changed labels"


@dataclass(frozen=True)
class Score:
    """int8 compared with float32 on the gate photos."""

    num_photos: int
    top1_float: float
    top1_int8: float
    agreement: float
    """Share of the photos with the same first label in both, right or wrong."""

    @property
    def passes(self) -> bool:
        # Rounded, because the limits are shares of whole photos, which floats do not hold exactly.
        loss, disagreement = round(self.top1_float - self.top1_int8, 9), round(1 - self.agreement, 9)
        return loss <= MAX_TOP1_LOSS and disagreement <= round(1 - MIN_AGREEMENT, 9)

    def __str__(self) -> str:
        return (
            f"a top-1 of {self.top1_int8:.2%} instead of {self.top1_float:.2%} and {1 - self.agreement:.2%} changed "
            f"labels on {self.num_photos:,} photos of val"
        )


def compare_answers(float_NK: Floats, int8_NK: Floats, classes_N: NDArray[np.int64]) -> Score:
    """Return the score of the logits *int8_NK* against *float_NK*; *classes_N* are the right class indices."""
    float_N, int8_N = float_NK.argmax(axis=1), int8_NK.argmax(axis=1)
    return Score(
        num_photos=len(classes_N),
        top1_float=float((float_N == classes_N).mean()),
        top1_int8=float((int8_N == classes_N).mean()),
        agreement=float((float_N == int8_N).mean()),
    )
