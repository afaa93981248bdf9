from pathlib import Path
from typing import Any

import pytest

from training.data.manifest import read_manifest, write_manifest
from training.data.photo_set import DataError, Photo


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).touch()
    path = folder / "labels.csv"
    path.write_text(text.replace("FOLDER", str(folder)), encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("split,file,coarse_label,label\ntrain,a.jpg,fruit, apple \n", "utf-8", ("apple", "fruit", "train")),
        ("file,label\na.jpg,apple\n", "utf-8", ("apple", None, "")),
        ("file,label\nFOLDER/a.jpg,apple\n", "utf-8", ("apple", None, "")),
        ("file,label\na.jpg,apple\n", "utf-8-sig", ("apple", None, "")),
        ('file;label;split\na.jpg;"apple, red; ripe";Validation\n', "utf-8-sig", ("apple, red; ripe", None, "val")),
        ("file\tlabel\tsplit\na.jpg\tapple\ttraining\n", "utf-8", ("apple", None, "train")),
        ("file,label,scene\na.jpg,apple, plate 7\n", "utf-8", ("apple", None, "", "plate 7")),
    ],
    ids=[
        "all columns",
        "required columns",
        "absolute path",
        "byte order mark",
        "semicolons",
        "tabs",
        "scene",
    ],
)
def test_a_row_gives_a_photo(tmp_path: Path, text: str, encoding: str, expected: tuple[Any, ...]) -> None:
    assert read_manifest(write(tmp_path, text, encoding)) == [Photo(tmp_path / "a.jpg", *expected)]


def test_photos_that_were_written_are_read_back(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    photos = [Photo(tmp_path / "a.jpg", "apple, red", "fruit", "val"), Photo(tmp_path / "b.jpg", "blå", scene="1")]
    write_manifest(path, photos)
    assert read_manifest(path) == photos


def test_repeated_rows_are_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path, "file,label\na.jpg,apple\nb.jpg,leek\n./a.jpg,apple\na.jpg,apple\n")
    assert [photo.path.name for photo in read_manifest(path)] == ["a.jpg", "b.jpg"]
    assert "repeats 2 row(s)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\na.jpg,train\n", r"no column label, it has file, split;"),
        ("", r"no column file and no column label, it has none"),
        ("file,label\n", r"no rows"),
        ("file,label\na.jpg,\n", r"line 2: label is empty"),
        ("file,label\na.jpg\n", r"line 2: label is empty"),
        ("file,label\na.jpg,apple,pear\n", r"line 2: .* more cells"),
        ("file,label\na.jpg,apple\na.jpg,pear\n", r"a\.jpg two labels, 'apple' and 'pear'"),
        ("file,label,split\na.jpg,apple,dev\n", r"line 2: split is 'dev', it may be train, val, test"),
        ("file,label\na.jpg,apple\nc.jpg,apple\n", r"1 of 2 files that do not exist.*c\.jpg"),
        ('file,label\n"a.jpg,apple\n', r"not a CSV file in UTF-8"),
        ("file,label\na.jpg,purée\n", r"not a CSV file in UTF-8"),
    ],
)
def test_an_unusable_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, text, encoding="latin-1"))


def test_a_manifest_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        read_manifest(tmp_path / "none.csv")
