import io
import os
import tarfile
from pathlib import Path

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.exceptions import DataCorruption  # type: ignore[import-untyped]  # ships no types

from model_archive.bucket_storage import bucket_errors
from scoring.file_access import FileError, open_files
from scoring.photo_listing import PhotoPlace, SourceError, list_photos, read_photo, split_source


def write_files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def write_shard(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            shard.addfile(member, io.BytesIO(name.encode()))
    return path


def names_of(source: object) -> list[str]:
    return [place.name for place in list_photos(str(source))]


def test_a_folder_has_each_file_of_its_subfolders_but_hidden_ones(tmp_path: Path) -> None:
    write_files(tmp_path, "b/2.jpg", "a.jpg", "b/notes.txt", ".git/x.jpg", ".DS_Store")

    assert names_of(tmp_path) == ["a.jpg", "b/2.jpg", "b/notes.txt"]


def test_a_link_to_a_file_is_a_photo_and_one_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    write_files(tmp_path / "photos", "a.jpg")
    (tmp_path / "photos" / "link.jpg").symlink_to("a.jpg")
    (tmp_path / "photos" / "round").symlink_to(tmp_path / "photos")

    assert names_of(tmp_path / "photos") == ["a.jpg", "link.jpg"]


def test_a_folder_of_100_000_names_is_listed_in_order(tmp_path: Path) -> None:
    for number in range(100_000):
        os.close(os.open(tmp_path / f"{number:06}.jpg", os.O_CREAT))

    names = names_of(tmp_path)

    assert (len(names), names[0], names[-1], names == sorted(names)) == (100_000, "000000.jpg", "099999.jpg", True)


def test_the_photos_of_a_shard_are_read_where_they_are(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000.tar", "001.jpg", "001.cls", "x/002.PNG", "002.json")
    files = open_files(str(tmp_path))

    places = list(list_photos(str(tmp_path)))

    assert [place.name for place in places] == ["train-000.tar/001.jpg", "train-000.tar/x/002.PNG"]
    assert [read_photo(files, place, 100) for place in places] == [b"001.jpg", b"x/002.PNG"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("a-00{0..1}.tar", ["a-000.tar/p.jpg", "a-001.tar/p.jpg"]),
        ("a-*1.tar", ["a-001.tar/p.jpg"]),
        ("b.tar", ["b.tar/p.jpg"]),
        ("*.tar", ["a-000.tar/p.jpg", "a-001.tar/p.jpg", "b.tar/p.jpg"]),
        ("*/a-*.tar", ["old/a-000.tar/p.jpg"]),
    ],
)
def test_a_pattern_names_shards(pattern: str, found: list[str], tmp_path: Path) -> None:
    for name in ("a-000.tar", "a-001.tar", "b.tar", "old/a-000.tar"):
        write_shard(tmp_path / name, "p.jpg")

    assert names_of(tmp_path / pattern) == found


def test_a_manifest_has_each_row_in_order_also_twice(tmp_path: Path) -> None:
    write_files(tmp_path, "a.jpg", "sub/b.jpg")
    (tmp_path / "list.csv").write_text(f"label;file\nx;sub/b.jpg\ny;{tmp_path / 'a.jpg'}\nx;sub/b.jpg\n", "utf-8-sig")
    files = open_files(split_source(str(tmp_path / "list.csv"))[0])

    places = list(list_photos(str(tmp_path / "list.csv")))

    assert [read_photo(files, place, 100) for place in places] == [b"sub/b.jpg", b"a.jpg", b"sub/b.jpg"]


@pytest.mark.parametrize(
    ("source", "text", "error"),
    [
        ("missing", "", "missing does not exist"),
        ("photo.jpg", "x", "is a file; name a folder, a .csv manifest or .tar shards"),
        ("list.csv", "label,path\nx,y\n", "has no column file, it has label, path"),
        ("list.csv", "file,label\na.jpg,x\n,x\n", "list.csv, line 3: file is empty"),
        ("list.csv", "file\n\xff", "is not a CSV file in UTF-8"),
        ("missing.csv", "", "missing.csv could not be read"),
        ("missing.tar", "", "missing.tar could not be read"),
        ("broken.tar", "x" * 600, "the shard broken.tar is damaged"),
        ("none-*.tar", "", "no file matches"),
        ("s3://bucket/photos", "", "s3://bucket/photos is neither a folder nor gs://bucket/prefix"),
    ],
)
def test_a_source_that_cannot_be_listed_is_named_with_the_reason(
    source: str, text: str, error: str, tmp_path: Path
) -> None:
    if text:
        (tmp_path / source).write_bytes(text.encode("latin-1"))

    with pytest.raises(SourceError, match=error.replace("*", r"\*")):
        list(list_photos(source if "://" in source else str(tmp_path / source)))


def test_a_photo_that_a_shard_lost_is_an_error_of_that_photo(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.tar", "p.jpg")
    place = PhotoPlace("a.tar/p.jpg", "a.tar", 0, shard.stat().st_size + 1)

    with pytest.raises(FileError, match=r"the shard a\.tar ends before it"):
        read_photo(open_files(str(tmp_path)), place, 1 << 20)


def test_no_more_of_a_photo_is_read_than_tells_that_it_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(b"x" * 1000)

    assert read_photo(open_files(str(tmp_path)), PhotoPlace("large.jpg"), 10) == b"x" * 11


def test_a_bucket_has_photos_shards_and_a_manifest(bucket: storage.Bucket, tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "s.tar", "p.jpg").read_bytes()
    for name, content in {"in/a.jpg": b"a", "in/s.tar": shard, "in/.hidden": b"", "other.jpg": b"other"}.items():
        bucket.blob(name).upload_from_string(content)
    bucket.blob("list.csv").upload_from_string(f"file\nin/a.jpg\ngs://{bucket.name}/other.jpg\n")
    prefix, manifest = f"gs://{bucket.name}/in", f"gs://{bucket.name}/list.csv"

    photos = [read_photo(open_files(prefix), place, 100) for place in list_photos(prefix)]
    listed = [read_photo(open_files(split_source(manifest)[0]), place, 100) for place in list_photos(manifest)]

    assert (photos, listed) == ([b"a", b"p.jpg"], [b"a", b"other"])


@pytest.mark.parametrize("name", ["missing.tar", "missing.csv"])
def test_an_object_that_does_not_exist_is_named(bucket: storage.Bucket, name: str) -> None:
    with pytest.raises(SourceError, match=rf"{name} could not be read .*check the bucket's name and the prefix"):
        list(list_photos(f"gs://{bucket.name}/{name}"))


def test_an_object_that_arrives_damaged_is_an_error_of_its_file() -> None:
    with (
        pytest.raises(FileError, match=r"could not be read .*run the same command again"),
        bucket_errors("read", FileError),
    ):
        raise DataCorruption(None, "the checksum is wrong")


def test_a_bucket_that_does_not_exist_is_named(bucket: storage.Bucket) -> None:
    with pytest.raises(SourceError, match=r"gs://no-such-bucket/in could not be listed .*check the bucket's name"):
        list(list_photos("gs://no-such-bucket/in"))
