from pathlib import Path

import pytest

from tests.training.pictures import photo_bytes
from training.data.manifest import read_manifest, write_manifest
from training.data.photos import DataError, LabelledFile


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "a.jpg").write_bytes(photo_bytes("apple", 1))
    path = folder / "labels.csv"
    path.write_text(text, encoding=encoding)
    return path


def test_a_row_gives_file_label_coarse_label_and_split(tmp_path: Path) -> None:
    path = write(tmp_path, "split,file,coarse_label,label\ntrain,a.jpg,fruit, apple \n")
    assert read_manifest(path) == [LabelledFile(tmp_path / "a.jpg", "apple", "fruit", "train")]


def test_coarse_label_and_split_may_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "file,label\na.jpg,apple\n")
    assert read_manifest(path) == [LabelledFile(tmp_path / "a.jpg", "apple", None, "")]


def test_a_byte_order_mark_from_a_spreadsheet_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, "file,label\na.jpg,apple\n", encoding="utf-8-sig")
    assert [file.label for file in read_manifest(path)] == ["apple"]


def test_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = write(tmp_path, f"file,label\n{tmp_path / 'a.jpg'},apple\n")
    moved = path.rename(tmp_path / "elsewhere" / "labels.csv")
    assert read_manifest(moved)[0].path == tmp_path / "a.jpg"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, "")
    files = [
        LabelledFile(tmp_path / "a.jpg", "apple, red", "fruit", "val"),
        LabelledFile(tmp_path / "a.jpg", "blå", None, ""),
    ]
    write_manifest(tmp_path / "labels.csv", files)
    assert read_manifest(tmp_path / "labels.csv") == files


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\na.jpg,train\n", r"has no column label, it has file, split; name them in its first line"),
        ("", r"has no column file and no column label, it has none"),
        ("file,label\n", r"has a header but no rows"),
        ("file,label\na.jpg,\n", r"line 2: label is empty"),
        ("file,label\na.jpg\n", r"line 2: label is empty"),
        ("file,label,split\na.jpg,apple,dev\n", r"line 2: split is 'dev', it may be train, val, test or empty"),
        ("file,label\na.jpg,apple\nb.jpg,apple\n", r"lists 1 of 2 files that do not exist, the first is .*b\.jpg"),
        ('file,label\n"a.jpg,apple\n', r"is not a CSV file in UTF-8 \(unexpected end of data\)"),
    ],
)
def test_a_bad_manifest_is_refused_with_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(write(tmp_path, text))


def test_a_manifest_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "file,label\na.jpg,purée\n", encoding="latin-1")
    with pytest.raises(DataError, match="is not a CSV file in UTF-8"):
        read_manifest(path)


def test_a_manifest_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the manifest .*none\.csv does not exist"):
        read_manifest(tmp_path / "none.csv")
