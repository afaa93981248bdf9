from collections import Counter
from pathlib import Path

import pytest

from training.data.photo_set import DataError, Photo
from training.data.split import choose_splits, skip_contradictions, skip_copies


def inspected(label: str, digest: str, split: str = "", path: str = "") -> Photo:
    return Photo(Path(path or digest), label, None, split, digest=digest)


def many(label: str, count: int, folder: str = "photos") -> list[Photo]:
    return [inspected(label, f"{label}{index}", path=f"{folder}/{index}") for index in range(count)]


def val_digests(items: list[Photo], seed: int, share: float) -> set[str]:
    return {item.digest for item in choose_splits(items, seed, share) if item.split == "val"}


@pytest.mark.parametrize(
    ("photos", "share", "in_val"), [(1, 0.5, 0), (2, 0.1, 1), (2, 0.9, 1), (25, 0.1, 3), (24, 0.1, 2)]
)
def test_every_label_gives_its_share_to_val(photos: int, share: float, in_val: int) -> None:
    placed = choose_splits(many("apple", photos) + many("leek", 10), 0, share)
    counts = Counter((item.label, item.split) for item in placed)
    assert (counts["apple", "val"], counts["apple", "train"]) == (in_val, photos - in_val)
    assert counts["leek", "val"] == 10 * share


def test_val_depends_on_the_seed_but_not_on_order_or_paths() -> None:
    items, moved = many("apple", 30), many("apple", 30, folder="moved")[::-1]
    assert val_digests(items, 1, 0.3) == val_digests(moved, 1, 0.3)
    assert val_digests(items, 1, 0.3) != val_digests(items, 2, 0.3)


def test_equal_files_are_in_one_split() -> None:
    items = [inspected("apple", str(index // 2), path=str(index)) for index in range(20)]
    placed = choose_splits(items, seed=0, val_share=0.4)
    assert [item.split for item in placed[::2]] == [item.split for item in placed[1::2]]
    assert len(val_digests(items, 0, 0.4)) == 4


def test_splits_of_the_source_are_kept_and_val_is_taken_from_train_alone() -> None:
    items = [inspected("apple", "1", "val"), inspected("apple", "2", "train"), inspected("apple", "3")]
    assert [item.split for item in choose_splits(items, 0, 0.5)] == ["val", "train", "train"]
    items = [inspected("apple", str(index), "test" if index < 5 else "train") for index in range(10)]
    splits = [item.split for item in choose_splits(items, 0, 0.4)]
    assert (splits[:5], splits[5:].count("val")) == (["test"] * 5, 2)


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_val_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(DataError, match=rf"val_share is {share}, .* 0 and 1"):
        choose_splits(many("apple", 3), 0, share)


def test_a_file_in_two_splits_is_kept_in_the_last_one_alone() -> None:
    places = {"test/a": "same", "train/a": "same", "val/a": "same", "train/b": "other", "train/c": "other"}
    kept, copies = skip_copies([inspected("apple", digest, Path(p).parent.name, p) for p, digest in places.items()])
    assert [str(item.path) for item in kept] == ["test/a", "train/b", "train/c"]
    assert {(str(copy.path), copy.reason.partition(": ")[2]) for copy in copies} == {
        ("train/a", "test/a"),
        ("val/a", "test/a"),
    }


def test_equal_files_with_different_labels_are_all_skipped() -> None:
    items = [inspected("leek", "same", path="1"), inspected("apple", "same", path="2"), inspected("leek", "other")]
    kept, skipped = skip_contradictions(items)
    assert kept == items[2:]
    assert ["apple, leek" in photo.reason for photo in skipped] == [True, True]
