from pathlib import Path

import pytest

from training.data import duplicates
from training.data.duplicates import find_near_duplicates
from training.data.photo_set import Photo

FAR = 0xFFFF_FFFF_0000_0000


def bits(count: int, of: int = 0) -> bytes:
    """Return 64 bits that differ in *count* places from *of*."""
    return (of ^ ((1 << count) - 1)).to_bytes(8)


def pairs(*photos: tuple[str, str, bytes]) -> list[tuple[str, str]]:
    """Return the names of the near-duplicates among photos (name, split, fingerprint), with their twins."""
    listed = [Photo(Path(name), "apple", None, split, fingerprint=bits) for name, split, bits in photos]
    found = find_near_duplicates(listed)
    return [(pair.photo.path.name, pair.twin.path.name) for pair in found]


@pytest.mark.parametrize(("split", "count", "found"), [("val", 0, 1), ("val", 4, 1), ("val", 5, 0), ("train", 0, 0)])
def test_photos_of_two_splits_that_differ_in_up_to_four_bits_are_near_duplicates(
    split: str, count: int, found: int
) -> None:
    assert len(pairs(("a", "train", bits(0)), ("b", split, bits(count)))) == found


def test_val_is_compared_with_train_and_test_with_both() -> None:
    found = pairs(("v", "val", bits(2)), ("t", "test", bits(3)), ("a", "train", bits(0)), ("b", "train", bits(0, FAR)))
    assert found == [("v", "a"), ("t", "v")]


def test_many_photos_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_NUM_ROWS", 2)
    val = [(str(index), "val", bits(0, FAR * (index % 2))) for index in range(5)]
    assert pairs(("a", "train", bits(0)), *val) == [("0", "a"), ("2", "a"), ("4", "a")]
