import csv
import io
from pathlib import Path

import numpy as np

from training.data.photo_set import Photo
from training.evaluation.label_errors import LabelError, find_label_errors, format_label_errors, predict_out_of_fold

LABELS = ("apple", "pear", "leek")


def draw_photos(num_photos: int) -> tuple[np.ndarray, np.ndarray, list[Photo]]:
    """Return embeddings_ND in three clusters, classes_N, and photos."""
    random = np.random.default_rng(0)
    classes_N = random.integers(3, size=num_photos)
    embeddings_ND = random.normal(0.0, 1.0, (num_photos, 8)) + 6.0 * np.eye(3, 8)[classes_N]
    return embeddings_ND, classes_N, [Photo(Path(f"{index}.jpg"), LABELS[c]) for index, c in enumerate(classes_N)]


def test_planted_wrong_labels_are_listed_first() -> None:
    embeddings_ND, classes_N, photos = draw_photos(300)
    classes_N[:12] = (classes_N[:12] + 1) % 3
    errors = find_label_errors(predict_out_of_fold(embeddings_ND, classes_N, 3), photos, LABELS, classes_N)
    assert {error.photo.path.stem for error in errors[:10]} < {str(index) for index in range(12)}
    assert [error.answer for error in errors[:10]] == [error.photo.label for error in errors[:10]]


def test_predictions_are_of_a_model_that_has_not_seen_the_photo() -> None:
    random = np.random.default_rng(0)
    # More dimensions than photos: a model of all photos would be right about each.
    embeddings_ND, classes_N = random.normal(size=(60, 200)), random.integers(3, size=60)
    probabilities_NK = predict_out_of_fold(embeddings_ND, classes_N, 3)
    assert np.allclose(probabilities_NK.sum(axis=1), 1.0)
    assert (probabilities_NK.argmax(axis=1) == classes_N).mean() < 0.6


def test_a_label_of_a_single_photo_is_no_error_of_the_others() -> None:
    embeddings_ND, classes_N, photos = draw_photos(90)
    classes_N = np.where(classes_N == 2, 1, classes_N)
    classes_N[0] = 2
    probabilities_NK = predict_out_of_fold(embeddings_ND, classes_N, 3)
    assert np.isfinite(probabilities_NK).all()
    assert "leek" not in {error.answer for error in find_label_errors(probabilities_NK, photos, LABELS, classes_N)}


def test_right_answers_give_no_errors_and_the_list_is_bounded() -> None:
    photos = [Photo(Path(f"{index}.jpg"), "apple") for index in range(300)]
    probabilities_NK = np.tile([0.1, 0.8, 0.1], (300, 1))
    assert find_label_errors(probabilities_NK, photos, LABELS, np.ones(300, int)) == []
    wrong = find_label_errors(probabilities_NK, photos, LABELS, np.array([1] * 50 + [0] * 250))
    assert len(wrong) == 200
    assert (wrong[0].answer, wrong[0].probability, wrong[0].probability_of_label) == ("pear", 0.8, 0.1)


def test_the_list_is_csv_also_of_odd_names() -> None:
    error = LabelError(Photo(Path('a, "b".jpg'), "apple", None, "train"), "pear", 0.75, 0.125)
    (row,) = csv.DictReader(io.StringIO(format_label_errors([error])))
    assert row == {
        "file": 'a, "b".jpg',
        "split": "train",
        "label": "apple",
        "answer": "pear",
        "probability_of_label": "0.1250",
        "probability_of_answer": "0.7500",
    }
