import json
from pathlib import Path

import pytest

from tests.training.pictures import photo_bytes
from tests.training.shard_files import sample, write_shard
from training.data.photo_set import DataError
from training.data.shards import unpack_shards
from training.data.sources import load_photos


def test_photos_and_labels_of_every_shard_are_unpacked(tmp_path: Path) -> None:
    write_shard(tmp_path / "food-000.tar", sample("apple", 1), sample("leek", 2))
    write_shard(tmp_path / "food-001.tar", sample("apple", 3))
    photos = unpack_shards(f"{tmp_path}/food-{{000..001}}.tar", tmp_path / "cache")
    assert [(photo.label, photo.group, photo.split) for photo in photos] == [
        ("apple", None, ""),
        ("leek", None, ""),
        ("apple", None, ""),
    ]
    assert [photo.path.read_bytes() for photo in photos] == [
        photo_bytes("apple", 1),
        photo_bytes("leek", 2),
        photo_bytes("apple", 3),
    ]


def test_json_may_give_the_label_and_its_group(tmp_path: Path) -> None:
    fields = json.dumps({"label": "leek", "coarse_label": "vegetable"}).encode()
    write_shard(tmp_path / "a.tar", {"png": photo_bytes("leek", 1, "PNG"), "json": fields})
    [photo] = unpack_shards(str(tmp_path / "a.tar"), tmp_path / "cache")
    assert (photo.label, photo.group, photo.path.suffix) == ("leek", "vegetable", ".png")


@pytest.mark.parametrize(("name", "split"), [("train-0", "train"), ("val-0", "val"), ("test-0", "test"), ("set", "")])
def test_a_shards_name_gives_its_split(tmp_path: Path, name: str, split: str) -> None:
    write_shard(tmp_path / f"{name}.tar", sample("apple", 1))
    assert [photo.split for photo in unpack_shards(f"{tmp_path}/*.tar", tmp_path / "cache")] == [split]


def test_a_shard_is_unpacked_once(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", sample("apple", 1))
    [first] = unpack_shards(str(path), tmp_path / "cache")
    first.path.write_bytes(b"marked")
    [second] = unpack_shards(str(path), tmp_path / "cache")
    assert (second, second.path.read_bytes()) == (first, b"marked")


def test_shards_are_loaded_as_a_set_with_the_name_of_their_folder(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("val", 10)):
        write_shard(tmp_path / f"{split}.tar", *(sample(label, seed + len(label)) for label in ("apple", "leek")))
    photos = load_photos(f"{tmp_path}/*.tar", cache=tmp_path / "cache")
    assert (photos.labels, len(photos.of("train")), len(photos.of("val"))) == (("apple", "leek"), 2, 2)
    assert photos.name == tmp_path.name


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


def test_a_shard_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.tar", sample("apple", 1))
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"a\.tar is damaged"):
        unpack_shards(str(path), tmp_path / "cache")


@pytest.mark.parametrize("pattern", ["food-{000..001}.tar", "*.tar"])
def test_shards_that_do_not_exist_are_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(DataError, match=r"the shard .* does not exist"):
        unpack_shards(f"{tmp_path}/{pattern}", tmp_path / "cache")
