import numpy as np
import pytest

from handler.engine import Floats
from model_archive.quantize import MIN_PHOTOS, Score, compare_answers


def answer(*class_indices: int) -> Floats:
    return np.eye(3, dtype=np.float32)[list(class_indices)]


def test_the_shares_are_of_first_labels() -> None:
    score = compare_answers(answer(0, 1, 2, 0), answer(0, 2, 2, 0), np.array([0, 1, 1, 1]))

    assert score == Score(num_photos=4, top1_float=0.5, top1_int8=0.25, agreement=0.75)


@pytest.mark.parametrize(
    ("num_photos", "right_in_float", "right_in_int8", "equal", "passes"),
    [
        (200, 180, 180, 200, True),
        (200, 180, 179, 199, True),  # exactly half a point
        (600, 580, 577, 590, True),
        (200, 100, 140, 196, True),  # better, and exactly 98 %
        (1000, 900, 895, 980, True),
        (200, 180, 178, 200, False),
        (1000, 900, 894, 1000, False),
        (200, 180, 180, 195, False),
        (1000, 500, 800, 979, False),
        (MIN_PHOTOS - 1, MIN_PHOTOS - 1, MIN_PHOTOS - 2, MIN_PHOTOS - 2, False),
    ],
)
def test_the_gate_accepts_half_a_point_less_and_two_percent_changed_labels(
    num_photos: int, right_in_float: int, right_in_int8: int, equal: int, passes: bool
) -> None:
    score = Score(num_photos, right_in_float / num_photos, right_in_int8 / num_photos, equal / num_photos)

    assert score.passes is passes
