from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from training.data.inspection import Inspected
from training.data.photos import DataError, LabelledFile, SkippedPhoto
from training.data.split import choose_splits, set_copies_aside


def inspected(label: str, digest: str, split: str = "", path: str = "") -> Inspected:
    return Inspected(LabelledFile(Path(path or digest), label, None, split), digest, None, bytes(8))


def many(counts: Mapping[str, int]) -> list[Inspected]:
    return [inspected(label, f"{label}{index}") for label, count in counts.items() for index in range(count)]


def chosen(items: list[Inspected]) -> set[str]:
    return {item.digest for item in items if item.file.split == "val"}


def test_every_label_gives_its_share_to_val() -> None:
    placed = choose_splits(many({"apple": 40, "leek": 10}), seed=0, val_share=0.2)
    assert Counter((item.file.label, item.file.split) for item in placed) == {
        ("apple", "train"): 32,
        ("apple", "val"): 8,
        ("leek", "train"): 8,
        ("leek", "val"): 2,
    }


@pytest.mark.parametrize(
    ("photos", "share", "in_val"), [(1, 0.5, 0), (2, 0.1, 1), (2, 0.9, 1), (25, 0.1, 3), (24, 0.1, 2)]
)
def test_a_label_keeps_one_in_train_and_gives_one_where_it_has_two(photos: int, share: float, in_val: int) -> None:
    assert len(chosen(choose_splits(many({"apple": photos}), seed=0, val_share=share))) == in_val


def test_the_seed_alone_decides_not_the_order_or_the_place() -> None:
    items = many({"apple": 30})
    moved = [inspected("apple", item.digest, path=f"elsewhere/{item.digest}") for item in reversed(items)]
    assert chosen(choose_splits(items, 1, 0.3)) == chosen(choose_splits(moved, 1, 0.3))
    assert chosen(choose_splits(items, 1, 0.3)) != chosen(choose_splits(items, 2, 0.3))


def test_equal_files_stay_together() -> None:
    items = [inspected("apple", str(index // 2), path=str(index)) for index in range(20)]
    placed = choose_splits(items, seed=0, val_share=0.4)
    assert [item.file.split for item in placed[::2]] == [item.file.split for item in placed[1::2]]
    assert len(chosen(placed)) == 4


def test_a_given_val_split_is_kept_as_it_is() -> None:
    items = [inspected("apple", "1", "val"), inspected("apple", "2", "train"), inspected("apple", "3")]
    assert [item.file.split for item in choose_splits(items, 0, 0.5)] == ["val", "train", "train"]


def test_val_is_taken_from_train_and_never_from_test() -> None:
    items = [inspected("apple", str(index), "test" if index < 5 else "train") for index in range(10)]
    placed = choose_splits(items, seed=0, val_share=0.4)
    assert [item.file.split for item in placed[:5]] == ["test"] * 5
    assert len(chosen(placed)) == 2


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(DataError, match=rf"val_share is {share}, it must lie between 0 and 1"):
        choose_splits(many({"apple": 3}), 0, share)


def test_a_file_in_two_splits_stays_only_where_it_judges() -> None:
    items = [
        inspected("apple", "same", "test", "test/a.jpg"),
        inspected("apple", "same", "train", "train/a.jpg"),
        inspected("leek", "same", "val", "val/a.jpg"),
        inspected("apple", "other", "train", "train/b.jpg"),
    ]
    kept, copies = set_copies_aside(items)
    assert [str(item.file.path) for item in kept] == ["test/a.jpg", "train/b.jpg"]
    assert copies == [
        SkippedPhoto(Path("train/a.jpg"), "the same file is in test: test/a.jpg"),
        SkippedPhoto(Path("val/a.jpg"), "the same file is in test: test/a.jpg"),
    ]


def test_copies_inside_one_split_are_kept() -> None:
    items = [inspected("apple", "same", "train", "1"), inspected("apple", "same", "train", "2")]
    assert set_copies_aside(items) == (items, [])
