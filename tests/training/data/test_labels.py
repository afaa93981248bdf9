import os
from pathlib import Path

import pytest

from training.data.labels import check_known, check_labels, check_names, find_groups
from training.data.photo_set import DataError, Photo


def photo(label: str, split: str = "train", group: str | None = None) -> Photo:
    return Photo(Path(f"{label}.jpg"), label, group, split)


GOOD = [photo("apple"), photo("leek"), photo("leek", "val")]
KIWI = [photo("kiwi", "val"), photo("kiwi", "test")]


@pytest.mark.parametrize(
    ("listed", "usable", "message"),
    [
        (GOOD, [], "no usable photo among 3 files"),
        (GOOD, GOOD[:1], "no photo of leek is usable"),
        (GOOD[:1], GOOD[:1], "one label, apple"),
        ([*GOOD, *KIWI], [*GOOD, *KIWI], r"train lacks 1 of 3 labels \(kiwi in test, kiwi in val\)"),
        (GOOD[:2], GOOD[:2], "no photo for val"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(listed: list[Photo], usable: list[Photo], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_labels("food", listed, usable)


def test_unknown_labels_are_named_up_to_five() -> None:
    with pytest.raises(DataError, match=r"7 labels .*\(b, c, d, e, f and 2 more\)"):
        check_known("food", [photo(label) for label in "hgfedcba"], ["a"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["Apple", "apple"], "'Apple' and 'apple'"),
        (["cafe\u0301", "caf\u00e9"], r"'cafe\\u0301' and 'caf\\xe9'"),
        ([os.fsdecode(b"caf\xe9")], r"caf\?\.jpg is not UTF-8"),
    ],
)
def test_spellings_of_one_label_and_names_without_unicode_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_names([photo(label) for label in labels])


def test_groups_have_the_order_of_the_labels() -> None:
    photos = [photo("leek", group="vegetable"), photo("apple", group="fruit"), photo("pear", group="fruit")]
    assert find_groups("food", photos, ["apple", "leek", "pear"]) == ("fruit", "vegetable", "fruit")
    assert find_groups("food", GOOD, ["apple", "leek"]) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [(photo("apple", group="pome"), "'apple' .*'fruit' and 'pome'"), (photo("leek"), "leek have no coarse label")],
)
def test_contradictory_coarse_labels_are_refused(other: Photo, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_groups("food", [photo("apple", group="fruit"), other], sorted({"apple", other.label}))
