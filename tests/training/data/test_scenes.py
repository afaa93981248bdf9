import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from training.data.photo_set import Photo
from training.data.scenes import assign_scenes
from training.data.split import choose_splits

FAR = (0x0000_0000_0000_0000, 0xFFFF_FFFF_0000_0000, 0x0000_0000_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)


def inspected(label: str, digest: str, print_: int, scene: str | None = None) -> Photo:
    return Photo(Path(digest), label, scene=scene, digest=digest, fingerprint=print_.to_bytes(8))


def scenes(*items: Photo) -> list[str | None]:
    return [item.scene for item in assign_scenes(items)]


@pytest.mark.parametrize(("count", "together"), [(0, True), (12, True), (13, False)])
def test_photos_of_one_label_that_differ_in_up_to_twelve_bits_are_one_scene(count: int, together: bool) -> None:
    first, second, _ = scenes(
        inspected("leek", "a", FAR[0]), inspected("leek", "b", (1 << count) - 1), inspected("leek", "c", FAR[1])
    )
    assert (first == second) is together


def test_similar_photos_of_two_labels_and_equal_files_are_told_apart() -> None:
    leek, copy, apple, other = scenes(
        inspected("leek", "a", FAR[0]),
        inspected("leek", "a", FAR[0]),
        inspected("apple", "b", FAR[0]),
        inspected("apple", "c", FAR[1]),
    )
    assert (leek, copy, apple, other) == ("a", "a", "b", "c")


def test_a_scene_of_the_source_joins_labels_and_what_resembles_one_of_its_photos() -> None:
    items = [
        inspected("leek", "d", FAR[0], "plate 1"),
        inspected("apple", "c", FAR[1], "plate 1"),
        inspected("apple", "b", FAR[1] ^ 1),
        inspected("apple", "a", FAR[2], "plate 2"),
    ]
    assert scenes(*items) == ["plate 1", "plate 1", "plate 1", "plate 2"]
    assert scenes(*items[::-1]) == ["plate 2", "plate 1", "plate 1", "plate 1"]


def test_no_scene_is_divided_and_every_label_keeps_train_photos() -> None:
    items = [
        inspected(label, f"{label}{plate}{index}", FAR[plate % 4], f"{label} {plate}")
        for label in ("apple", "leek")
        for plate in range(4)
        for index in range(5)
    ]
    items.append(inspected("kiwi", "k", FAR[0], "apple 0"))

    placed = choose_splits(assign_scenes(items), seed=0, val_share=0.25)

    splits = {item.scene: set[str]() for item in placed}
    for item in placed:
        splits[item.scene].add(item.split)
    assert sorted(len(found) for found in splits.values()) == [1] * 8
    assert splits["apple 0"] == {"train"}
    assert Counter(item.label for item in placed if item.split == "val") == {"apple": 5, "leek": 5}


def test_photos_that_all_resemble_each_other_are_divided_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    items = [inspected("leek", "a", 0), inspected("leek", "b", 0), inspected("apple", "c", 0, "plate")]
    assert scenes(*items) == ["a", "b", "plate"]
    assert "every label resemble each other" in caplog.text


def test_scenes_of_the_source_are_never_divided(caplog: pytest.LogCaptureFixture) -> None:
    items = [inspected("leek", digest, FAR[0], "plate") for digest in "ab"]
    assert scenes(*items) == ["plate", "plate"]
    assert caplog.text == ""


def test_a_thousand_frames_of_one_film_take_no_memory_for_each_pair() -> None:
    items = [*(inspected("leek", str(index), 1 << index % 64) for index in range(1000)), inspected("kiwi", "k", 0)]
    items.append(inspected("kiwi", "l", FAR[3]))
    tracemalloc.start()

    found = assign_scenes(items)

    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({item.scene for item in found}) == 3
    assert peak_bytes < 20e6
