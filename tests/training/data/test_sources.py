import logging
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.training.pictures import GROUPS, draw_photo, sample, write_image_folder, write_photo_set, write_shard
from training.data.photo_set import DataError, PhotoSet
from training.data.sources import load_photos, load_test_photos


def load(source: Path) -> PhotoSet:
    return load_photos(str(source), cache=source.parent / "cache")


def test_a_split_set_is_read_with_labels_groups_and_splits(photo_set: PhotoSet) -> None:
    assert photo_set.labels == ("apple", "banana", "carrot", "leek")
    assert photo_set.groups == ("fruit", "fruit", "vegetable", "vegetable")
    assert {split: len(photo_set.of(split)) for split in ("train", "val", "test")} == {"train": 32, "val": 8, "test": 8}
    assert all(
        (photo.path.parent.name, photo.group) == (photo.label, GROUPS[photo.label]) for photo in photo_set.photos
    )
    assert (photo_set.skipped, photo_set.near_duplicates) == ((), ())


def test_digest_and_order_do_not_depend_on_the_folder(photo_folder: Path, photo_set: PhotoSet, tmp_path: Path) -> None:
    moved = load(shutil.copytree(photo_folder, tmp_path / "moved") / ".." / "moved")
    assert moved.name == "moved"
    assert re.fullmatch("sha256:[0-9a-f]{64}", moved.digest)
    assert moved.digest == photo_set.digest
    assert [photo.path.name for photo in moved.photos] == [photo.path.name for photo in photo_set.photos]


@pytest.mark.parametrize(
    ("old", "new"), [("carrot,vegetable,val", "carrot,vegetable,test"), (",fruit,", ",food,"), (",leek,", ",onion,")]
)
def test_digest_changes_with_splits_groups_and_labels(
    photo_folder: Path, photo_set: PhotoSet, tmp_path: Path, old: str, new: str
) -> None:
    manifest = shutil.copytree(photo_folder, tmp_path / "photos") / "labels.csv"
    manifest.write_text(manifest.read_text().replace(old, new))
    changed = load(manifest)
    assert changed.digest != photo_set.digest
    assert changed.name == "labels"


def test_one_line_tells_the_size_of_a_clean_set(
    photo_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "training"):
        load_photos(str(photo_folder), cache=tmp_path)
    assert caplog.records == []
    assert "48 photos, 4 labels, 32 in train, 8 in val, 8 in test" in capsys.readouterr().err


def test_unusable_photos_and_labels_without_val_photos_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 4, "leek": 1, "carrot": 1})
    for index in range(12):
        (food / "leek" / f"notes{index}.txt").write_text("bring milk")
    draw_photo("leek", 9).resize((3000, 2000)).save(food / "apple" / "phone.png")
    photos = load(food)
    assert (len(photos.photos), len(photos.skipped)) == (7, 12)
    assert f"{photos.skipped[0].path} is skipped: {photos.skipped[0].reason}" in caplog.text
    assert "and 2 more photos are skipped" in caplog.text
    assert "val has no photo of 2 label(s), carrot, leek" in caplog.text


def test_equal_files_with_two_labels_are_skipped_in_both_splits(tmp_path: Path) -> None:
    food = write_photo_set(tmp_path / "food", {"train": 3, "val": 2})
    shutil.copy(food / "train/apple/001.jpg", food / "val/leek/1006.jpg")
    photos = load(food)
    assert {photo.path.name for photo in photos.skipped} == {"001.jpg", "1006.jpg"}
    assert len(photos.photos) == 18


def test_near_duplicates_across_splits_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    food = write_photo_set(tmp_path / "food", {"train": 3, "val": 2})
    Image.open(food / "train/apple/001.jpg").save(food / "val/apple/1000.jpg", quality=40)
    photos = load(food)
    [pair] = photos.near_duplicates
    assert (pair.photo.path.name, pair.twin.path.name) == ("1000.jpg", "001.jpg")
    assert pair.photo in photos.photos
    assert "1 photo(s) resemble one of an earlier split" in caplog.text


def test_a_chosen_val_has_no_photo_that_resembles_one_of_train(tmp_path: Path) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 6, "leek": 6})
    for path in list(food.rglob("*.jpg")):
        Image.open(path).resize((144, 112)).save(path.with_stem(f"{path.stem}-again"), quality=60)
    photos = load(food)
    assert [len(photos.of(split)) for split in ("train", "val")] == [20, 4]
    assert photos.near_duplicates == ()
    assert not {photo.scene for photo in photos.of("val")} & {photo.scene for photo in photos.of("train")}


def test_a_photo_beyond_the_limits_of_clients_is_learned_from(tmp_path: Path) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 3, "leek": 2})
    Image.new("L", (9000, 6000), 90).save(food / "apple" / "54-megapixels.jpg")
    assert [photo.path.name for photo in load(food).photos if photo.label == "apple"].count("54-megapixels.jpg") == 1


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"a\.tar cannot be read or copied"):
        load(write_shard(tmp_path / "a.tar", sample("apple", 1)))


def test_only_the_test_split_is_used_if_there_is_one(photo_folder: Path, tmp_path: Path) -> None:
    photos = load_test_photos(str(photo_folder), tuple(GROUPS), cache=tmp_path)
    assert [photo.split for photo in photos] == ["test"] * 8
    food = write_image_folder(tmp_path / "food", {"leek": 2, "apple": 1})
    photos = load_test_photos(str(food), ("apple", "kiwi", "leek"), cache=tmp_path / "cache")
    assert [(photo.label, photo.split) for photo in photos] == [("apple", "test"), ("leek", "test"), ("leek", "test")]


def test_test_photos_that_the_data_set_has_are_left_out(
    photo_set: PhotoSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    field = write_image_folder(tmp_path / "field", {"apple": 1, "leek": 2}, first_seed=9000)
    shutil.copy(photo_set.of("train")[0].path, field / "leek" / "copy.jpg")
    known = {photo.digest for photo in photo_set.photos}
    photos = load_test_photos(str(field), tuple(GROUPS), cache=tmp_path, known=known)
    assert len(photos) == 3
    copy = field / "leek" / "copy.jpg"
    assert caplog.messages == [f"{copy} is skipped: the same file is in data.source or the corrections"]


@pytest.mark.parametrize(
    ("labels", "message"), [(("apple",), r"1 labels .*\(leek\)"), (("apple", "leek"), "no usable photo among 2 files")]
)
def test_test_photos_that_cannot_be_used_are_refused(tmp_path: Path, labels: tuple[str, ...], message: str) -> None:
    for path in write_image_folder(tmp_path / "food", {"apple": 1, "leek": 1}).rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=message):
        load_test_photos(str(tmp_path / "food"), labels, cache=tmp_path / "cache")
