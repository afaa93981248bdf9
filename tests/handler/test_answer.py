import numpy as np
import pytest

from handler.answer import Prediction, describe_photo, predict, rank_labels
from handler.engine import Floats, Outputs
from handler.familiarity import Familiarity
from tests.specs import make_spec

LABELS = ("apple", "banana", "cherry")


def logits(*rows: tuple[float, ...]) -> Floats:
    return np.array(rows, dtype=np.float32)


def test_labels_are_ranked_by_falling_probability_and_equal_ones_in_the_specs_order() -> None:
    first, second = rank_labels(logits((np.log(2), np.log(5), np.log(3)), (1.0, 1.0, 1.0)), make_spec(LABELS))

    assert first.class_indices == (1, 2, 0)
    assert first.probabilities == pytest.approx((0.5, 0.3, 0.2))
    assert second.class_indices == (0, 1, 2)


def test_the_temperature_divides_the_logits() -> None:
    (prediction,) = rank_labels(logits((0.0, 2 * np.log(3.0))), make_spec(LABELS[:2], temperature=2.0))

    assert prediction.probabilities == pytest.approx((0.75, 0.25))


@pytest.mark.parametrize(("threshold", "confident"), [(0.0, True), (0.5, True), (0.51, False), (1.0, False)])
def test_an_answer_is_confident_from_the_threshold_on(threshold: float, confident: bool) -> None:
    (prediction,) = rank_labels(logits((7.0, 7.0)), make_spec(LABELS[:2], threshold=threshold))

    assert prediction.confident is confident
    assert rank_labels(logits((9.0, 0.0)), make_spec(LABELS[:2], threshold=0.9))[0].confident


def test_a_photo_unlike_those_of_the_training_is_unfamiliar_and_never_confident() -> None:
    familiarity = Familiarity(logits((1.0,), (0.0,)), threshold=np.array(0.5, dtype=np.float32))
    outputs = Outputs(logits((9.0, 0.0), (9.0, 0.0), (0.0, 0.0)), logits((1.0, 0.0), (0.0, 3.0), (1.0, 0.0)))
    spec = make_spec(LABELS[:2], threshold=0.9)

    found = predict(outputs, spec, familiarity)

    assert [(one.unfamiliar, one.unfamiliarity, one.confident) for one in found] == [
        (False, 0.0, True),
        (True, 2.0, False),
        (False, 0.0, False),
    ]
    assert describe_photo("body", found[1], spec, top_k=1) == {
        "photo": "body",
        "labels": [{"label": "apple", "probability": 0.999877}],
        "confident": False,
        "unfamiliar": True,
        "unfamiliarity": 2.0,
    }
    assert [one.unfamiliar for one in predict(outputs, spec, None)] == [None] * 3


def test_an_embedding_is_kept_as_its_coordinates_along_the_directions() -> None:
    directions_DR = logits((1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
    familiarity = Familiarity(directions_DR, threshold=np.array(0.5, dtype=np.float32))
    outputs = Outputs(logits((9.0, 0.0)), logits((3.0, -4.0, 12.0)))

    (found,) = predict(outputs, make_spec(LABELS[:2]), familiarity)

    assert found.embedding is not None
    assert np.frombuffer(found.embedding, "<f2") == pytest.approx([3 / 13, -4 / 13], rel=1e-3)
    assert found.unfamiliarity == pytest.approx(12 / 13 / 0.5, rel=1e-5)


def test_an_entry_holds_the_first_k_labels_rounded_to_a_millionth() -> None:
    prediction = Prediction((2, 0, 1), (0.7654321, 0.2, 0.0345679), confident=True)

    entry = describe_photo("body", prediction, make_spec(LABELS), top_k=2)

    assert entry == {
        "photo": "body",
        "labels": [{"label": "cherry", "probability": 0.765432}, {"label": "apple", "probability": 0.2}],
        "confident": True,
    }
