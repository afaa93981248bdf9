from pathlib import Path

import pytest

from training.data import duplicates
from training.data.duplicates import find_near_duplicates
from training.data.photo_set import NearDuplicate, Photo


def photo(name: str, split: str) -> Photo:
    return Photo(Path(name), "apple", None, split)


def bits(count: int, of: int = 0) -> bytes:
    """Return 64 bits that differ in *count* places from *of*."""
    return (of ^ ((1 << count) - 1)).to_bytes(8)


FAR = 0xFFFF_FFFF_0000_0000


@pytest.mark.parametrize(("count", "found"), [(0, 1), (4, 1), (5, 0)])
def test_photos_that_differ_in_up_to_four_bits_are_near_duplicates(count: int, found: int) -> None:
    photos = [photo("a", "train"), photo("b", "val")]
    assert len(find_near_duplicates(photos, [bits(0), bits(count)])) == found


def test_val_is_compared_with_train_and_test_with_both() -> None:
    photos = [photo("val", "val"), photo("test", "test"), photo("train", "train"), photo("other", "train")]
    prints = [bits(2), bits(3), bits(0), bits(0, FAR)]
    assert find_near_duplicates(photos, prints) == (
        NearDuplicate(photos[0], photos[2]),
        NearDuplicate(photos[1], photos[0]),
    )


def test_photos_of_one_split_are_not_compared() -> None:
    assert find_near_duplicates([photo("a", "train"), photo("b", "train")], [bits(0), bits(0)]) == ()


def test_many_photos_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_NUM_ROWS", 2)
    photos = [photo("train", "train"), *(photo(str(index), "val") for index in range(5))]
    prints = [bits(0), *(bits(index % 2, FAR * (index % 2)) for index in range(5))]
    assert [pair.photo.path.name for pair in find_near_duplicates(photos, prints)] == ["0", "2", "4"]
