from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.photo_set import Photo
from training.evaluation.measures import Decision, evaluate_split, fit_decision, read_short_sides, slice_accuracy
from training.evaluation.network_outputs import Predictions

LABELS = ("apple", "pear", "leek")
GROUPS = ("fruit", "fruit", "vegetable")
# Answers: apple, pear, pear (an apple), leek, apple (a leek).
LOGITS = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0], [1.0, 0.0, 0.5]]
CLASSES = [0, 1, 0, 2, 2]


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    made = []
    for index, class_index in enumerate(CLASSES):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (40, 20 + index)).save(path)
        made.append(Photo(path, LABELS[class_index], GROUPS[class_index], "val"))
    return made


def predictions() -> Predictions:
    num_photos = len(CLASSES)
    return Predictions(
        np.array(LOGITS, np.float32),
        np.zeros((num_photos, 2), np.float32),
        np.array(CLASSES),
        np.linspace(0.1, 0.9, num_photos, dtype=np.float32),
        np.zeros(num_photos, np.float32),
    )


def test_the_summary_counts_labels_groups_and_classes(photos: list[Photo]) -> None:
    figures = evaluate_split(predictions(), photos, LABELS, GROUPS, Decision(1.0, 0.9), fitted_here=False)

    summary = figures["summary"]
    assert summary["photos"] == 5
    assert summary["top1"] == 0.6
    assert summary["top5"] == 1.0
    assert summary["coarse_top1"] == 0.8
    assert summary["macro_recall"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert summary["macro_precision"] == pytest.approx((0.5 + 0.5 + 1.0) / 3)
    assert summary["confident_share"] == 0.6
    assert summary["confident_precision"] == 1.0
    assert figures["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert figures["per_class"]["leek"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "photos": 2.0}


def test_labels_without_groups_have_no_coarse_figure(photos: list[Photo]) -> None:
    figures = evaluate_split(predictions(), photos, LABELS, None, Decision(1.0, 1.0), fitted_here=True)

    assert "coarse_top1" not in figures["summary"]
    assert "confident_precision" not in figures["summary"]


def test_the_decision_keeps_its_precision_where_it_was_fitted(photos: list[Photo]) -> None:
    decision = fit_decision(predictions(), precision=1.0)

    figures = evaluate_split(predictions(), photos, LABELS, None, decision, fitted_here=True)
    assert figures["summary"]["confident_precision"] == 1.0
    assert figures["summary"]["confident_share"] == 0.6


def test_slices_are_quarters_that_keep_equal_values_together() -> None:
    values_N = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    right_N = np.array([True, False, True, True, True, True, True, False])

    slices = slice_accuracy(values_N, right_N)

    assert [(s["from"], s["to"], s["photos"]) for s in slices] == [(1.0, 2.0, 2), (3.0, 4.0, 6)]
    assert [s["top1"] for s in slices] == [0.5, pytest.approx(5 / 6)]


def test_short_sides_come_from_the_files(photos: list[Photo]) -> None:
    assert read_short_sides(photos).tolist() == [20.0, 21.0, 22.0, 23.0, 24.0]
