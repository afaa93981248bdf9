import numpy as np
import pytest

from handler.engine import Floats
from model_archive.gate import MIN_PHOTOS, Score, compare_answers


def make_score(num_photos: int, right_in_float: int, right_in_int8: int, equal: int) -> Score:
    return Score(num_photos, right_in_float / num_photos, right_in_int8 / num_photos, equal / num_photos)


def answer(*class_indices: int) -> Floats:
    return np.eye(3, dtype=np.float32)[list(class_indices)]


def test_the_shares_are_of_first_labels() -> None:
    score = compare_answers(answer(0, 1, 2, 0), answer(0, 2, 1, 0), np.array([0, 1, 1, 1]))

    assert score == Score(num_photos=4, top1_float=0.5, top1_int8=0.5, agreement=0.5)


@pytest.mark.parametrize(
    ("num_photos", "right_in_float", "right_in_int8", "equal"),
    [
        (200, 180, 180, 200),
        (200, 180, 179, 199),  # exactly half a point
        (600, 580, 577, 590),
        (200, 100, 140, 196),  # better, and exactly 98 %
        (1000, 900, 895, 980),
    ],
)
def test_what_is_just_allowed_passes(num_photos: int, right_in_float: int, right_in_int8: int, equal: int) -> None:
    assert make_score(num_photos, right_in_float, right_in_int8, equal).passes


@pytest.mark.parametrize(
    ("num_photos", "right_in_float", "right_in_int8", "equal"),
    [
        (200, 180, 178, 198),  # a whole point
        (1000, 900, 894, 990),
        (200, 100, 140, 195),  # 2.5 % other answers, though more of them are right
        (200, 100, 0, 0),
    ],
)
def test_what_is_more_than_allowed_does_not(
    num_photos: int, right_in_float: int, right_in_int8: int, equal: int
) -> None:
    assert not make_score(num_photos, right_in_float, right_in_int8, equal).passes


def test_with_the_least_number_of_photos_one_may_be_lost_and_with_one_less_none() -> None:
    assert make_score(MIN_PHOTOS, 100, 99, MIN_PHOTOS).passes
    assert not make_score(MIN_PHOTOS - 1, 100, 99, MIN_PHOTOS - 1).passes


def test_a_score_reads_as_figures() -> None:
    assert str(make_score(200, 180, 178, 193)) == (
        "a top-1 of 89.00% instead of 90.00% and 3.50% other answers on 200 photos of val"
    )
