from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.photo_set import Photo
from training.evaluation.decision import Decision, decide
from training.evaluation.measures import evaluate_split, slice_accuracy
from training.evaluation.network_outputs import Predictions

LABELS = ("apple", "pear", "leek")
GROUPS = ("fruit", "fruit", "vegetable")
# Answers: apple, pear, pear (an apple), leek, apple (a leek).
LOGITS = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 4.0], [1.0, 0.0, 0.5]]
CLASSES = [0, 1, 0, 2, 2]
LIGHT = np.linspace(0.1, 0.9, 5, dtype=np.float32)
EMBEDDINGS = np.zeros((5, 2), np.float32)
PREDICTIONS = Predictions(EMBEDDINGS, np.array(CLASSES), np.array(LOGITS, np.float32), LIGHT, LIGHT, LIGHT, LIGHT)


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Photos with short sides of 20 to 24 pixels."""
    made = [Photo(tmp_path / f"{side}.png", LABELS[index]) for side, index in zip(range(20, 25), CLASSES, strict=True)]
    for photo in made:
        Image.new("RGB", (40, int(photo.path.stem))).save(photo.path)
    return made


def test_the_summary_counts_labels_groups_and_classes(photos: list[Photo]) -> None:
    figures = evaluate_split(PREDICTIONS, photos, LABELS, GROUPS, decide(PREDICTIONS.logits_NK, Decision(1.0, 0.9)))
    expected = {
        "photos": 5,
        "top1": 0.6,
        "coarse_top1": 0.8,
        "macro_recall": pytest.approx((0.5 + 1.0 + 0.5) / 3),
        "macro_precision": pytest.approx((0.5 + 0.5 + 1.0) / 3),
        "nll": pytest.approx(0.568, abs=0.001),
        "confident_share": 0.6,
        "confident_precision": 1.0,
    }
    assert {name: figures["summary"][name] for name in expected} == expected
    assert set(figures["intervals"]) == {"top1", "coarse_top1", "ece_scaled", "confident_precision"}
    assert figures["intervals"]["top1"][0] <= 0.2 < 1.0 == figures["intervals"]["top1"][1]
    assert figures["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert figures["per_class"]["leek"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "photos": 2.0}
    assert [(row["from"], row["to"]) for row in figures["by_short_side"]] == [(20, 20), (21, 21), (22, 22), (23, 24)]


def test_figures_without_groups_or_confident_answers_are_left_out(photos: list[Photo]) -> None:
    decided = decide(PREDICTIONS.logits_NK, Decision(1.0, 1.0))
    summary = evaluate_split(PREDICTIONS, photos, LABELS, None, decided)["summary"]
    assert not {"coarse_top1", "confident_precision"} & set(summary)


@pytest.mark.parametrize(("num_labels", "top5"), [(5, None), (6, 0.8)])
def test_top5_is_given_where_there_are_more_than_5_labels(
    num_labels: int, top5: float | None, photos: list[Photo]
) -> None:
    # The logits fall from label to label: the first photo has the last label, the others the first one.
    logits_NK = np.tile(np.arange(num_labels, 0.0, -1.0, dtype=np.float32), (5, 1))
    predictions = replace(PREDICTIONS, logits_NK=logits_NK, classes_N=np.array([num_labels - 1, 0, 0, 0, 0]))
    decided = decide(logits_NK, Decision(1.0, 0.9))

    summary = evaluate_split(predictions, photos, [str(k) for k in range(num_labels)], None, decided)["summary"]

    assert summary.get("top5") == top5


def test_slices_are_quarters_that_keep_equal_values_together() -> None:
    values_N = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    right_N = np.array([True, False, True, True, True, True, True, False])
    assert slice_accuracy(values_N, right_N) == [
        {"from": 1.0, "to": 2.0, "photos": 2, "top1": 0.5},
        {"from": 3.0, "to": 4.0, "photos": 6, "top1": pytest.approx(5 / 6)},
    ]
