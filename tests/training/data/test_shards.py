import json
from pathlib import Path

import pytest

from tests.training.pictures import photo_bytes, sample, write_shard
from training.data.photo_set import DataError
from training.data.shards import unpack_shards
from training.data.sources import load_photos


def test_photos_and_labels_of_every_shard_are_unpacked(tmp_path: Path) -> None:
    write_shard(tmp_path / "food-000.tar", sample("apple", 1), sample("leek", 2))
    write_shard(tmp_path / "food-001.tar", sample("apple", 3))
    photos = unpack_shards(f"{tmp_path}/food-{{000..001}}.tar", tmp_path / "cache")
    assert [(photo.label, photo.group, photo.path.read_bytes()) for photo in photos] == [
        (label, None, photo_bytes(label, seed)) for label, seed in (("apple", 1), ("leek", 2), ("apple", 3))
    ]


def test_json_may_give_the_label_its_group_and_its_scene(tmp_path: Path) -> None:
    fields = json.dumps({"label": "leek", "coarse_label": "vegetable", "scene": 7}).encode()
    write_shard(tmp_path / "a.tar", {"png": photo_bytes("leek", 1, "PNG"), "json": fields})
    [photo] = unpack_shards(str(tmp_path / "a.tar"), tmp_path / "cache")
    assert (photo.label, photo.group, photo.scene, photo.path.suffix) == ("leek", "vegetable", "7", ".png")


def test_a_shard_is_unpacked_once(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", sample("apple", 1))
    [first] = unpack_shards(str(path), tmp_path / "cache")
    first.path.write_bytes(b"marked")
    [second] = unpack_shards(str(path), tmp_path / "cache")
    assert (second, second.path.read_bytes()) == (first, b"marked")


def test_a_pattern_is_loaded_as_a_set_in_the_splits_that_the_shards_are_named_for(tmp_path: Path) -> None:
    for seed, name in enumerate(("set", "train-0", "val-0", "test-0")):
        write_shard(tmp_path / f"{name}.tar", sample("apple", 10 * seed), sample("leek", 10 * seed + 1))
    photos = load_photos(f"{tmp_path}/*.tar", cache=tmp_path / "cache")
    assert [len(photos.of(split)) for split in ("train", "val", "test")] == [4, 2, 2]
    assert (photos.name, photos.labels) == (tmp_path.name, ("apple", "leek"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"cls": b"apple"}, r"a\.tar, sample sample0 has no photo, it has cls"),
        ({"jpg": b"x"}, r"a\.tar, sample sample0 has no label, it has jpg"),
        ({"jpg": b"x", "cls": b" "}, r"no label, it has cls, jpg"),
        ({"jpg": b"x", "json": b"[1]"}, r"no label, it has jpg, json"),
        ({"jpg": b"x", "json": b"{"}, r"a\.tar is damaged"),
    ],
)
def test_a_sample_without_photo_or_label_is_refused(tmp_path: Path, content: dict[str, bytes], message: str) -> None:
    path = write_shard(tmp_path / "a.tar", content)
    with pytest.raises(DataError, match=message):
        unpack_shards(str(path), tmp_path / "cache")
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a.tar", r"a\.tar is damaged"),
        ("food-{000..001}.tar", r"food-000\.tar does not exist"),
        ("food*.tar", r"food\*\.tar does not exist"),
    ],
)
def test_shards_that_are_cut_short_or_do_not_exist_are_named(tmp_path: Path, pattern: str, message: str) -> None:
    path = write_shard(tmp_path / "a.tar", sample("apple", 1))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=message):
        unpack_shards(f"{tmp_path}/{pattern}", tmp_path / "cache")
