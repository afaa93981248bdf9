import re
from pathlib import Path

import pytest

from training.data.layouts import list_folder
from training.data.photo_set import DataError

CLASSES = {"classes.csv": "name,id,coarse name,coarse id,icon\nRoyal-Gala,0,Apple,0,/x.jpg\nLeek,1,Leek,1,/y.jpg\n"}
GROCERY = CLASSES | {"a/0.jpg": "", "b/1.jpg": "", "train.txt": "a/0.jpg, 0, 0\n", "val.txt": "b/1.jpg, 1, 1\n"}
FOOD101 = {"images/apple_pie/1.jpg": "", "images/apple_pie/2.jpg": "", "meta/train.txt": "apple_pie/1\n"}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write *files*, and an empty folder for a name that ends in /."""
    for place, text in files.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        if place.endswith("/"):
            (folder / place).mkdir(exist_ok=True)
        else:
            (folder / place).write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            dict.fromkeys(("apple/0.jpg", "leek/1.jpg", "leek/inner/2.jpg", "apple/.DS_Store", ".git/x"), ""),
            [
                ("apple/0.jpg", "apple", None, ""),
                ("leek/1.jpg", "leek", None, ""),
                ("leek/inner/2.jpg", "leek", None, ""),
            ],
        ),
        (
            dict.fromkeys(("Training/apple/0.jpg", "validation/apple/1.jpg", "Test/apple/2.jpg", "Test/leek/"), ""),
            [
                ("Test/apple/2.jpg", "apple", None, "test"),
                ("Training/apple/0.jpg", "apple", None, "train"),
                ("validation/apple/1.jpg", "apple", None, "val"),
            ],
        ),
        ({"a/0.jpg": "", "labels.csv": "file,label\na/0.jpg,pear\n"}, [("a/0.jpg", "pear", None, "")]),
        ({"a/0.jpg": "", "manifest.csv": "file,label\na/0.jpg,pear\n"}, [("a/0.jpg", "pear", None, "")]),
        (GROCERY, [("a/0.jpg", "Royal-Gala", "Apple", "train"), ("b/1.jpg", "Leek", "Leek", "val")]),
        (
            FOOD101 | {"meta/test.txt": "apple_pie/2\n"},
            [
                ("images/apple_pie/1.jpg", "apple pie", None, "train"),
                ("images/apple_pie/2.jpg", "apple pie", None, "test"),
            ],
        ),
    ],
    ids=["image folder", "split folders", "labels.csv", "manifest.csv", "Grocery Store", "Food-101"],
)
def test_a_layout_gives_labels_groups_and_splits(
    tmp_path: Path, files: dict[str, str], expected: list[tuple[str, str, str | None, str]]
) -> None:
    write(tmp_path, files)
    found = list_folder(tmp_path)
    assert [(str(p.path.relative_to(tmp_path)), p.label, p.group, p.split) for p in found] == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/apple/0.jpg": "", "leek/1.jpg": ""}, r"\(leek\)"),
        ({"apple/0.jpg": "", "leek/": ""}, "leek is empty"),
        ({"train/apple/0.jpg": "", "train/leek/": ""}, "leek is empty"),
        ({"a.jpg": ""}, r"labels\.csv nor manifest\.csv"),
        (FOOD101, r"has meta/train\.txt but not"),
        (GROCERY | {"train.txt": "a/0.jpg, 7, 0\n"}, r"has classes\.csv but not"),
        (GROCERY | {"classes.csv": "apple\npear\n"}, r"has classes\.csv but not"),
        (GROCERY | {"val.txt": "val/none.jpg, 1, 1\n"}, "1 of 2 files that do not exist"),
    ],
)
def test_a_folder_without_a_complete_layout_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    write(tmp_path, files)
    with pytest.raises(DataError, match=message):
        list_folder(tmp_path)


@pytest.mark.parametrize(
    ("link", "target", "message"),
    [
        ("beside.jpg", "apple/0.jpg", r"1 path\(s\) lie beside .*beside\.jpg"),
        ("apple/link", "leek", r"1 path\(s\) are links to folders .*apple/link"),
        ("apple/gone.jpg", "nowhere.jpg", r"1 path\(s\) are broken links .*gone\.jpg"),
    ],
)
def test_what_an_image_folder_cannot_use_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, link: str, target: str, message: str
) -> None:
    write(tmp_path, {"apple/0.jpg": "", "leek/1.jpg": ""})
    (tmp_path / link).symlink_to(tmp_path / target)
    assert len(list_folder(tmp_path)) == 2
    [warning] = caplog.messages
    assert re.search(message, warning)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none does not exist"):
        list_folder(tmp_path / "none")
