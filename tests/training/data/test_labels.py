from pathlib import Path

import pytest

from training.data.labels import check_known, check_labels, find_groups
from training.data.photos import DataError, LabelledFile


def file(label: str, split: str = "train", group: str | None = None) -> LabelledFile:
    return LabelledFile(Path(f"{label}.jpg"), label, group, split)


GOOD = [file("apple"), file("leek"), file("leek", "val")]


def test_labels_that_train_has_are_accepted() -> None:
    check_labels("food", GOOD, GOOD)


@pytest.mark.parametrize(
    ("listed", "usable", "message"),
    [
        (GOOD, [], "food has no usable photo among 3 files; see the reasons above"),
        (GOOD, GOOD[:1], "food: no photo of leek is usable; see the reasons above, replace or remove them"),
        (GOOD[:1], GOOD[:1], "food has one label, apple, a classifier needs two; add photos of another"),
        (
            [*GOOD, file("kiwi", "val"), file("kiwi", "test")],
            [*GOOD, file("kiwi", "val"), file("kiwi", "test")],
            "food: train lacks 1 of 3 labels (kiwi in test, kiwi in val); "
            "move some of their photos to train or remove them all",
        ),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(
    listed: list[LabelledFile], usable: list[LabelledFile], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        check_labels("food", listed, usable)
    assert str(caught.value) == message


def test_unknown_labels_are_named_up_to_five() -> None:
    listed = [file(label) for label in "hgfedcba"]
    with pytest.raises(DataError, match=r"7 labels that the model does not know \(b, c, d, e, f and 2 more\)"):
        check_known("food", listed, ["a"])


def test_known_labels_are_accepted() -> None:
    check_known("food", GOOD, ["apple", "leek", "kiwi"])


def test_groups_come_in_the_order_of_the_labels() -> None:
    files = [file("leek", group="vegetable"), file("apple", group="fruit"), file("pear", group="fruit")]
    assert find_groups("food", files, ["apple", "leek", "pear"]) == ("fruit", "vegetable", "fruit")


def test_without_coarse_labels_there_are_no_groups() -> None:
    assert find_groups("food", GOOD, ["apple", "leek"]) is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            [file("apple", group="fruit"), file("apple", group="pome")],
            "label 'apple' has two coarse labels, 'fruit' and 'pome'; give it one",
        ),
        ([file("apple", group="fruit"), file("leek")], "leek have no coarse label but others have"),
    ],
)
def test_coarse_labels_that_contradict_are_refused(files: list[LabelledFile], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_groups("food", files, sorted({file.label for file in files}))
