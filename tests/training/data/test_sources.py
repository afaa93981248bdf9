import logging
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.training.pictures import GROUPS, draw_photo, photo_bytes, write_image_folder, write_photo_set
from tests.training.shard_files import sample, write_shard
from training.data.photos import DataError, PhotoSet
from training.data.sources import load_photos, load_test_photos


def test_a_split_set_is_read_with_labels_groups_and_splits(photo_set: PhotoSet) -> None:
    assert photo_set.labels == ("apple", "banana", "carrot", "leek")
    assert photo_set.groups == ("fruit", "fruit", "vegetable", "vegetable")
    assert {split: len(photo_set.of(split)) for split in ("train", "val", "test")} == {"train": 32, "val": 8, "test": 8}
    assert (photo_set.skipped, photo_set.near_duplicates) == ((), ())


def test_every_photo_has_its_own_label_and_a_file(photo_set: PhotoSet) -> None:
    assert all(photo.path.parent.name == photo.label for photo in photo_set.photos)
    assert all(photo.group == GROUPS[photo.label] for photo in photo_set.photos)


def test_digest_and_order_stay_when_the_folder_moves(photo_folder: Path, photo_set: PhotoSet, tmp_path: Path) -> None:
    moved = load_photos(str(shutil.copytree(photo_folder, tmp_path / "moved")), cache=tmp_path / "cache")
    assert moved.digest == photo_set.digest
    assert [photo.path.name for photo in moved.photos] == [photo.path.name for photo in photo_set.photos]
    assert (photo_set.digest[:7], len(photo_set.digest)) == ("sha256:", 7 + 64)


@pytest.mark.parametrize(
    ("old", "new"), [("carrot,vegetable,val", "carrot,vegetable,test"), (",fruit,", ",food,"), (",leek,", ",onion,")]
)
def test_digest_changes_with_splits_groups_and_labels(photo_set: PhotoSet, tmp_path: Path, old: str, new: str) -> None:
    manifest = write_photo_set(tmp_path, {"train": 8, "val": 2, "test": 2}) / "labels.csv"
    manifest.write_text(manifest.read_text().replace(old, new))
    assert load_photos(str(manifest), cache=tmp_path / "cache").digest != photo_set.digest


def test_an_image_folder_gets_a_val_split_of_every_label(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "food", {"apple": 10, "leek": 20})
    photos = load_photos(str(tmp_path / "food"), cache=tmp_path / "cache", seed=3, val_share=0.2)
    assert Counter(photo.label for photo in photos.of("val")) == {"apple": 2, "leek": 4}
    assert (photos.name, photos.groups) == ("food", None)


@pytest.mark.parametrize(
    ("source", "name"), [("food/labels.csv", "labels"), ("food", "food"), ("food/../food/", "food")]
)
def test_the_set_is_named_after_its_source(tmp_path: Path, source: str, name: str) -> None:
    write_photo_set(tmp_path / "food", {"train": 2, "val": 1})
    assert load_photos(f"{tmp_path}/{source}", cache=tmp_path / "cache").name == name


def test_corrupt_photos_are_listed_and_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image_folder(tmp_path / "food", {"apple": 4, "leek": 4})
    (tmp_path / "food" / "apple" / "empty.jpg").touch()
    for index in range(11):
        (tmp_path / "food" / "leek" / f"notes{index}.txt").write_text("bring milk")
    photos = load_photos(str(tmp_path / "food"), cache=tmp_path / "cache")
    assert (len(photos.photos), len(photos.skipped)) == (8, 12)
    assert photos.skipped[0].path.name == "empty.jpg"
    assert photos.skipped[0].reason == "the photo is empty (0 bytes); send the image's bytes"
    assert f"{photos.skipped[0].path} is skipped: the photo is empty" in caplog.text
    assert "and 2 more photos are skipped" in caplog.text


def test_no_file_is_in_two_splits(tmp_path: Path) -> None:
    write_photo_set(tmp_path, {"train": 3, "val": 2})
    shutil.copy(tmp_path / "val/apple/1000.jpg", tmp_path / "train/apple/002.jpg")
    photos = load_photos(str(tmp_path), cache=tmp_path / "cache")
    assert {photo.path.name for photo in photos.of("train") if photo.label == "apple"} == {"000.jpg", "001.jpg"}
    assert [skipped.path for skipped in photos.skipped] == [tmp_path / "train/apple/002.jpg"]
    assert photos.skipped[0].reason == f"the same file is in val: {tmp_path / 'val/apple/1000.jpg'}"


def test_near_duplicates_across_splits_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_photo_set(tmp_path, {"train": 3, "val": 2})
    Image.open(tmp_path / "train/apple/001.jpg").save(tmp_path / "val/apple/1000.jpg", quality=40)
    photos = load_photos(str(tmp_path), cache=tmp_path / "cache")
    [pair] = photos.near_duplicates
    assert (pair.photo.path.name, pair.twin.path.name) == ("1000.jpg", "001.jpg")
    assert "1 photo(s) look like one of an earlier split" in caplog.text
    assert pair.photo in photos.photos


def test_rotated_and_large_photos_are_usable(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "food", {"apple": 2, "leek": 2})
    draw_photo("leek", 9).resize((3000, 2000)).save(tmp_path / "food" / "leek" / "phone.png")
    assert load_photos(str(tmp_path / "food"), cache=tmp_path / "cache").skipped == ()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"apple": 3}, "has one label, apple, a classifier needs two"),
        ({"apple": 3, "leek": 0}, "leek is empty; put photos into it or remove it"),
    ],
)
def test_a_folder_that_teaches_nothing_is_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    write_image_folder(tmp_path / "food", counts)
    with pytest.raises(DataError, match=message):
        load_photos(str(tmp_path / "food"), cache=tmp_path / "cache")


def test_a_label_whose_every_photo_is_corrupt_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "food", {"apple": 3, "carrot": 3, "leek": 0})
    (tmp_path / "food" / "leek" / "broken.jpg").write_bytes(photo_bytes("leek", 1)[:700])
    with pytest.raises(DataError, match="no photo of leek is usable"):
        load_photos(str(tmp_path / "food"), cache=tmp_path / "cache")


def test_a_label_in_val_that_train_lacks_is_refused(tmp_path: Path) -> None:
    manifest = write_photo_set(tmp_path, {"train": 2, "val": 1}) / "labels.csv"
    manifest.write_text(manifest.read_text() + "val/leek/1003.jpg,kiwi,fruit,val\n")
    with pytest.raises(DataError, match=r"train lacks 1 of 5 labels \(kiwi in val\)"):
        load_photos(str(manifest), cache=tmp_path / "cache")


def test_a_test_manifest_is_all_test_in_the_order_of_the_models_labels(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "food", {"leek": 2, "apple": 1})
    photos = load_test_photos(str(tmp_path / "food"), ("apple", "kiwi", "leek"), cache=tmp_path / "cache")
    assert (photos.labels, photos.groups) == (("apple", "kiwi", "leek"), None)
    assert [(photo.label, photo.split) for photo in photos.photos] == [
        ("apple", "test"),
        ("leek", "test"),
        ("leek", "test"),
    ]


def test_of_a_split_source_only_the_test_split_is_judged_by(photo_folder: Path, tmp_path: Path) -> None:
    photos = load_test_photos(str(photo_folder), tuple(GROUPS), cache=tmp_path)
    assert len(photos.photos) == len(photos.of("test")) == 8


def test_a_test_manifest_with_a_label_never_learned_is_refused(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has 1 labels that the model does not know \(leek\)"):
        load_test_photos(str(photo_folder), ("apple", "banana", "carrot"), cache=tmp_path)


def test_a_test_manifest_without_a_usable_photo_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "food", {"apple": 1})
    (tmp_path / "food" / "apple" / "000.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="has no usable photo among 1 files"):
        load_test_photos(str(tmp_path / "food"), ("apple", "leek"), cache=tmp_path / "cache")


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none does not exist; check its path"):
        load_photos(str(tmp_path / "none"), cache=tmp_path)


def test_a_place_for_copies_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", sample("apple", 1))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"a\.tar cannot be read or copied .* check permissions and free space"):
        load_photos(f"{tmp_path}/a.tar", cache=tmp_path / "cache")


def test_nothing_is_logged_about_a_clean_set(
    photo_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "training"):
        load_photos(str(photo_folder), cache=tmp_path)
    assert caplog.records == []


def test_a_source_that_leaves_nothing_to_judge_by_is_refused(tmp_path: Path) -> None:
    for label in ("apple", "leek"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "only.jpg").write_bytes(photo_bytes(label, 0))
    with pytest.raises(DataError, match=r"leaves no photo for val, .*; give at least one label two photos"):
        load_photos(str(tmp_path / "photos"), cache=tmp_path / "cache")


def test_a_name_that_is_not_unicode_is_refused_before_training(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos", {"apple": 2, "leek": 2})
    shutil.copy(next(folder.rglob("*.jpg")), folder / "apple" / os.fsdecode(b"caf\xe9.jpg"))
    with pytest.raises(DataError, match=r"the name of .*caf.*\.jpg is not UTF-8; rename the file or its folder"):
        load_photos(str(folder), cache=tmp_path / "cache")
