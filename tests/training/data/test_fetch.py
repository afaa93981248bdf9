import errno
import io
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.training.file_server import FileServer, serve
from tests.training.pictures import photo_bytes
from training.data import fetch
from training.data.fetch import fetch_set
from training.data.photo_set import DataError
from training.data.public_sets import PUBLIC_SETS, PublicSet
from training.data.sources import load_photos

CLASSES = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)\nApple,0,Fruit,0\nLeek,1,Greens,1\n"
)
ROOT = "GroceryStoreDataset-1234567/dataset"


def pack(members: dict[str, bytes]) -> bytes:
    """Return the members as a .tar.gz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def grocery_archive() -> bytes:
    """A Grocery Store archive of 8 train and 2 val photos, as GitHub packs it."""
    members = {f"{ROOT}/classes.csv": CLASSES.encode(), f"{ROOT}/train.txt": b"", f"{ROOT}/val.txt": b""}
    for seed in range(10):
        label_id, split = seed % 2, "train" if seed < 8 else "val"
        place = f"{split}/{seed}.jpg"
        members[f"{ROOT}/{place}"] = photo_bytes(("apple", "leek")[label_id], seed)
        members[f"{ROOT}/{split}.txt"] += f"{place}, {label_id}, {label_id}\n".encode()
    return pack(members)


ARCHIVE = grocery_archive()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(FileServer(ARCHIVE)) as running:
        yield running


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_processes_that_start_together_fetch_a_set_once(server: FileServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch_set, "grocery", tmp_path, url=server.url) for _ in range(4)]
        assert {job.result() for job in jobs} == {tmp_path / "grocery"}
    assert len(list((tmp_path / "grocery").rglob("*.jpg"))) == 10
    assert visible(tmp_path) == ["grocery"]
    assert server.ranges_requested == [None]


def test_an_archive_that_the_user_put_there_is_used(tmp_path: Path) -> None:
    (tmp_path / ".grocery.tar.gz").write_bytes(ARCHIVE)
    folder = fetch_set("grocery", tmp_path, url="http://127.0.0.1:1/none")
    assert len(list(folder.rglob("*.jpg"))) == 10
    assert visible(tmp_path) == ["grocery"]


def test_a_set_is_fetched_from_its_publisher_and_loaded_by_its_name(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PUBLIC_SETS, "grocery", PublicSet(server.url, PUBLIC_SETS["grocery"].root))
    photos = load_photos("grocery", cache=tmp_path)
    assert (photos.name, photos.labels, photos.groups) == ("grocery", ("Apple", "Leek"), ("Fruit", "Greens"))
    assert (len(photos.of("train")), len(photos.of("val"))) == (8, 2)


def test_an_archive_with_another_digest_than_the_known_one_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="85eeb15f3717b99a5da872d97d918f87"):
        fetch_set("food101", tmp_path, url=server.url)
    assert visible(tmp_path) == []
    assert server.ranges_requested == [None]


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (ARCHIVE[:-3000], "cannot be unpacked"),
        (b"not an archive", "cannot be unpacked"),
        (pack({"../outside.txt": b"x"}), "outside the destination"),
        (pack({"a/../../outside.txt": b"x"}), "outside the destination"),
        (pack({"other/a.txt": b"x"}), r"0 folders GroceryStoreDataset-\*/dataset"),
        (
            pack({f"{ROOT}/classes.csv": CLASSES.encode(), f"{ROOT}/train.txt": b"train/none.jpg, 0, 0\n"}),
            "1 of 1 files that do not exist",
        ),
    ],
    ids=["cut short", "not an archive", "path outside", "hidden path outside", "another set", "photos missing"],
)
def test_an_unusable_archive_is_deleted_and_downloaded_again_by_the_next_call(
    server: FileServer, tmp_path: Path, archive: bytes, message: str
) -> None:
    server.content = archive
    with pytest.raises(DataError, match=message):
        fetch_set("grocery", tmp_path / "data", url=server.url)
    assert (visible(tmp_path), visible(tmp_path / "data")) == (["data"], [])
    server.content = ARCHIVE
    assert fetch_set("grocery", tmp_path / "data", url=server.url).is_dir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_disk_that_fills_up_during_the_download_is_an_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".grocery.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left on device"):
        fetch_set("grocery", tmp_path, url=server.url)
    assert visible(tmp_path) == [".grocery.tar.gz.part"]


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "extractall", fail)
    with pytest.raises(DataError, match="No space left on device"):
        fetch_set("grocery", tmp_path, url=server.url)
    assert visible(tmp_path) == [".grocery.tar.gz"]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"data cannot be written \(File exists\)"):
        fetch_set("grocery", tmp_path / "data")


Command = Callable[[str], int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command, which fetches `grocery` from an address into `tmp_path`."""

    def run(url: str) -> int:
        monkeypatch.setattr(sys, "argv", ["", "grocery", "--into", str(tmp_path), "--url", url])
        return fetch.main()

    return run


def test_the_command_prints_the_number_of_photos(
    server: FileServer, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(server.url) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'grocery'} holds 10 photos\n", "")


def test_the_command_fails_with_one_line(
    server: FileServer, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    server.statuses = [404]
    with pytest.raises(SystemExit) as exit_:
        command(server.url)
    [line] = capsys.readouterr().err.splitlines()
    assert (exit_.value.code, "404" in line) == (1, True)


def test_ctrl_c_ends_the_command_with_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.get", interrupt)
    with pytest.raises(SystemExit) as exit_:
        command("http://127.0.0.1:1/none")
    assert exit_.value.code == 130
