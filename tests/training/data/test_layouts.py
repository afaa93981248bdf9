import re
from pathlib import Path

import pytest

from tests.training.pictures import write_image_folder
from training.data.layouts import list_folder
from training.data.photo_set import DataError, Photo


def test_an_image_folder_has_one_folder_for_each_label(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"apple": 1, "leek": 1})
    write_image_folder(tmp_path / "leek" / "deeper", {"apple": 1}, first_seed=3)
    (tmp_path / "apple" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    assert list_folder(tmp_path) == [
        Photo(tmp_path / "apple" / "000.jpg", "apple"),
        Photo(tmp_path / "leek" / "001.jpg", "leek"),
        Photo(tmp_path / "leek" / "deeper" / "apple" / "003.jpg", "leek"),
    ]


def test_folders_named_like_splits_give_the_split_and_may_lack_labels_except_in_train(tmp_path: Path) -> None:
    for folder, num_leeks in (("Training", 1), ("validation", 0), ("Test", 0)):
        write_image_folder(tmp_path / folder, {"apple": 1, "leek": num_leeks})
    found = [(photo.label, photo.split) for photo in list_folder(tmp_path)]
    assert found == [("apple", "test"), ("apple", "train"), ("leek", "train"), ("apple", "val")]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"train/apple": 1, "leek": 1}, r"\(leek\)"),
        ({"apple": 1, "leek": 0}, "leek is empty"),
        ({"train/apple": 1, "train/leek": 0}, "leek is empty"),
        ({}, r"labels\.csv nor manifest\.csv"),
    ],
    ids=["label beside a split", "empty label", "empty label in train", "no folders"],
)
def test_a_folder_without_a_layout_is_refused(tmp_path: Path, folders: dict[str, int], message: str) -> None:
    for place, count in folders.items():
        parent, _, label = place.rpartition("/")
        write_image_folder(tmp_path / parent, {label: count})
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path)


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("beside.jpg", "apple/000.jpg", r"1 path\(s\) lie beside .*beside\.jpg"),
        ("apple/link", "leek", r"1 path\(s\) are links to folders .*apple/link"),
        ("apple/gone.jpg", "nowhere.jpg", r"1 path\(s\) are broken links .*gone\.jpg"),
    ],
)
def test_what_an_image_folder_cannot_use_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: str, target: str, message: str
) -> None:
    write_image_folder(tmp_path, {"apple": 1, "leek": 1})
    (tmp_path / link).symlink_to(tmp_path / target)
    assert len(list_folder(tmp_path)) == 2
    [warning] = caplog.messages
    assert re.search(message, warning)


@pytest.mark.parametrize("name", ["labels.csv", "manifest.csv"])
def test_a_manifest_in_the_folder_is_read_instead(tmp_path: Path, name: str) -> None:
    write_image_folder(tmp_path, {"apple": 2})
    (tmp_path / name).write_text("file,label\napple/001.jpg,pear\n")
    assert list_folder(tmp_path) == [Photo(tmp_path / "apple" / "001.jpg", "pear")]


@pytest.fixture
def grocery(tmp_path: Path) -> Path:
    """Two photos in the layout of the Grocery Store repository."""
    write_image_folder(tmp_path / "train" / "Fruit", {"apple": 1})
    write_image_folder(tmp_path / "val" / "Vegetables", {"leek": 1})
    (tmp_path / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)\n"
        "Royal-Gala,0,Apple,0,/x.jpg\nLeek,1,Leek,1,/y.jpg\n"
    )
    (tmp_path / "train.txt").write_text("train/Fruit/apple/000.jpg, 0, 0\n")
    (tmp_path / "val.txt").write_text("val/Vegetables/leek/000.jpg, 1, 1\n")
    return tmp_path


def test_the_grocery_repository_gives_labels_groups_and_splits(grocery: Path) -> None:
    assert list_folder(grocery) == [
        Photo(grocery / "train/Fruit/apple/000.jpg", "Royal-Gala", "Apple", "train"),
        Photo(grocery / "val/Vegetables/leek/000.jpg", "Leek", "Leek", "val"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.txt", "train/Fruit/apple/000.jpg, 7, 0\n", r"has classes\.csv but not"),
        ("classes.csv", "apple\npear\n", r"has classes\.csv but not"),
        ("val.txt", "val/none.jpg, 1, 1\n", "1 of 2 files that do not exist"),
    ],
)
def test_a_grocery_repository_that_was_changed_is_refused(grocery: Path, name: str, text: str, message: str) -> None:
    (grocery / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list_folder(grocery)


def test_food101_gives_readable_labels_and_splits(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "images", {"apple": 2})
    (tmp_path / "images" / "apple").rename(tmp_path / "images" / "apple_pie")
    (tmp_path / "meta").mkdir()
    for name, split in (("000", "train"), ("001", "test")):
        (tmp_path / "meta" / f"{split}.txt").write_text(f"apple_pie/{name}\n")
    assert list_folder(tmp_path) == [
        Photo(tmp_path / "images/apple_pie/000.jpg", "apple pie", None, "train"),
        Photo(tmp_path / "images/apple_pie/001.jpg", "apple pie", None, "test"),
    ]
