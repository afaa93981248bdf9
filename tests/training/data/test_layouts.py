from collections import Counter
from pathlib import Path

import pytest

from tests.training.pictures import photo_bytes, write_image_folder
from training.data.layouts import list_folder
from training.data.photos import DataError, LabelledFile


def test_an_image_folder_has_one_folder_a_label(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"apple": 2, "leek": 1})
    assert list_folder(tmp_path) == [
        LabelledFile(tmp_path / "apple" / "000.jpg", "apple"),
        LabelledFile(tmp_path / "apple" / "001.jpg", "apple"),
        LabelledFile(tmp_path / "leek" / "002.jpg", "leek"),
    ]


def test_photos_in_deeper_folders_keep_the_label_of_the_first(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "apple", {"leek": 1})
    assert [file.label for file in list_folder(tmp_path)] == ["apple"]


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"apple": 1})
    (tmp_path / "apple" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    assert [file.path.name for file in list_folder(tmp_path)] == ["000.jpg"]


def test_folders_named_as_splits_give_the_split_by_any_usual_name(tmp_path: Path) -> None:
    for folder in ("Training", "validation", "Test"):
        write_image_folder(tmp_path / folder, {"apple": 1})
    assert {(file.label, file.split) for file in list_folder(tmp_path)} == {
        ("apple", "train"),
        ("apple", "val"),
        ("apple", "test"),
    }


def test_a_label_beside_split_folders_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", {"apple": 1})
    write_image_folder(tmp_path, {"leek": 1})
    with pytest.raises(DataError, match=r"mixes folders of splits with others \(leek\); a split folder holds"):
        list_folder(tmp_path)


def test_an_empty_label_folder_in_val_is_no_fault(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", {"apple": 1, "leek": 1})
    write_image_folder(tmp_path / "val", {"apple": 1, "leek": 0})
    assert Counter(file.split for file in list_folder(tmp_path)) == {"train": 2, "val": 1}


@pytest.mark.parametrize("root", ["", "train"])
def test_an_empty_label_folder_to_learn_from_is_refused(tmp_path: Path, root: str) -> None:
    write_image_folder(tmp_path / root, {"apple": 1, "leek": 0})
    with pytest.raises(DataError, match=r"the label folder .*leek is empty; put photos into it or remove it"):
        list_folder(tmp_path)


def test_a_folder_without_folders_or_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_bytes("apple", 1))
    with pytest.raises(DataError, match=r"holds neither labels\.csv nor manifest\.csv nor folders"):
        list_folder(tmp_path)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder .*none does not exist"):
        list_folder(tmp_path / "none")


@pytest.mark.parametrize("name", ["labels.csv", "manifest.csv"])
def test_a_manifest_in_the_folder_decides(tmp_path: Path, name: str) -> None:
    write_image_folder(tmp_path, {"apple": 2})
    (tmp_path / name).write_text("file,label\napple/001.jpg,pear\n")
    assert list_folder(tmp_path) == [LabelledFile(tmp_path / "apple" / "001.jpg", "pear")]


def write_grocery(folder: Path) -> Path:
    """Two photos in the layout of the Grocery Store repository."""
    write_image_folder(folder / "train" / "Fruit" / "Apple", {"apple": 1})
    write_image_folder(folder / "val" / "Vegetables", {"leek": 1})
    (folder / "classes.csv").write_text(
        "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Iconic Image Path (str)\n"
        "Royal-Gala,0,Apple,0,/x.jpg\nLeek,1,Leek,1,/y.jpg\n"
    )
    (folder / "train.txt").write_text("train/Fruit/Apple/apple/000.jpg, 0, 0\n")
    (folder / "val.txt").write_text("val/Vegetables/leek/000.jpg, 1, 1\n")
    return folder


def test_the_grocery_repository_gives_names_groups_and_splits(tmp_path: Path) -> None:
    write_grocery(tmp_path)
    assert list_folder(tmp_path) == [
        LabelledFile(tmp_path / "train/Fruit/Apple/apple/000.jpg", "Royal-Gala", "Apple", "train"),
        LabelledFile(tmp_path / "val/Vegetables/leek/000.jpg", "Leek", "Leek", "val"),
    ]


def test_a_grocery_repository_that_lacks_a_photo_is_refused(tmp_path: Path) -> None:
    write_grocery(tmp_path)
    (tmp_path / "val/Vegetables/leek/000.jpg").unlink()
    with pytest.raises(DataError, match="lists 1 of 2 files that do not exist"):
        list_folder(tmp_path)


def test_food101_gives_readable_labels_and_its_splits(tmp_path: Path) -> None:
    (tmp_path / "images" / "apple_pie").mkdir(parents=True)
    for name in ("1", "2"):
        (tmp_path / "images" / "apple_pie" / f"{name}.jpg").write_bytes(photo_bytes("apple", int(name)))
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "train.txt").write_text("apple_pie/1\n")
    (tmp_path / "meta" / "test.txt").write_text("apple_pie/2\n")
    assert list_folder(tmp_path) == [
        LabelledFile(tmp_path / "images/apple_pie/1.jpg", "apple pie", None, "train"),
        LabelledFile(tmp_path / "images/apple_pie/2.jpg", "apple pie", None, "test"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [("train.txt", "train/Fruit/Apple/apple/000.jpg, 7, 0\n"), ("classes.csv", "apple\npear\n")],
)
def test_a_grocery_repository_that_was_changed_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (write_grocery(tmp_path) / name).write_text(text)
    with pytest.raises(DataError, match=r"has classes\.csv but not the rest of what its publisher made"):
        list_folder(tmp_path)
