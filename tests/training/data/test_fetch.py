import errno
import io
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests
from hydra import compose, initialize_config_dir

from tests.training.file_server import FileServer, serve
from tests.training.pictures import photo_bytes
from training.data import fetch
from training.data.fetch import PUBLIC_SETS, fetch_set
from training.data.photo_set import DataError
from training.data.sources import load_photos

CONF = Path(__file__).parents[3] / "training" / "conf"
ROOT = "GroceryStoreDataset-1234567/dataset"
CLASSES = {f"{ROOT}/classes.csv": b"name,id,coarse name,coarse id\nApple,0,Fruit,0\nLeek,1,Greens,1\n"}


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
    members = CLASSES | {f"{ROOT}/train.txt": b"", f"{ROOT}/val.txt": b""}
    for seed in range(10):
        label_id, split = seed % 2, "train" if seed < 8 else "val"
        members[f"{ROOT}/{split}/{seed}.jpg"] = photo_bytes(("apple", "leek")[label_id], seed)
        members[f"{ROOT}/{split}.txt"] += f"{split}/{seed}.jpg, {label_id}, {label_id}\n".encode()
    return pack(members)


ARCHIVE = grocery_archive()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server with the archive of every public set."""
    with serve(FileServer(ARCHIVE)) as running:
        for name, public in PUBLIC_SETS.items():
            monkeypatch.setitem(PUBLIC_SETS, name, public._replace(url=running.url))
        yield running


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_every_public_set_can_be_chosen_by_its_name(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert compose("train", overrides=[f"data={name}"]).data.source == name


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_processes_that_start_together_fetch_a_set_once(server: FileServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch_set, ["grocery"] * 4, [tmp_path] * 4)) == {tmp_path / "grocery"}
    assert len(list((tmp_path / "grocery").rglob("*.jpg"))) == 10
    assert (visible(tmp_path), server.ranges_requested) == (["grocery"], [None])


def test_an_archive_that_the_user_put_there_is_loaded_by_its_name(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".grocery.tar.gz").write_bytes(ARCHIVE)
    photos = load_photos("grocery", cache=tmp_path)
    assert (photos.name, photos.labels, photos.groups) == ("grocery", ("Apple", "Leek"), ("Fruit", "Greens"))
    assert (len(photos.of("train")), len(photos.of("val"))) == (8, 2)
    assert server.ranges_requested == []


def test_an_archive_with_another_digest_than_the_known_one_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="85eeb15f3717b99a5da872d97d918f87"):
        fetch_set("food101", tmp_path)
    assert (visible(tmp_path), server.ranges_requested) == ([], [None])


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (ARCHIVE[:-3000], "cannot be unpacked"),
        (b"not an archive", "cannot be unpacked"),
        (pack({"a/../../outside.txt": b"x"}), "outside the destination"),
        (pack({"other/a.txt": b"x"}), r"0 folders GroceryStoreDataset-\*/dataset"),
        (pack(CLASSES | {f"{ROOT}/train.txt": b"train/none.jpg, 0, 0\n"}), "1 of 1 files that do not exist"),
    ],
    ids=["cut short", "not an archive", "path outside", "another set", "photos missing"],
)
def test_an_unusable_archive_is_deleted_and_downloaded_again_by_the_next_call(
    server: FileServer, tmp_path: Path, archive: bytes, message: str
) -> None:
    server.content = archive
    with pytest.raises(DataError, match=message):
        fetch_set("grocery", tmp_path / "data")
    assert (visible(tmp_path), visible(tmp_path / "data")) == (["data"], [])
    server.content = ARCHIVE
    assert fetch_set("grocery", tmp_path / "data").is_dir()


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarfile.TarFile, "extractall", Mock(side_effect=OSError(errno.ENOSPC, "disk is full")))
    with pytest.raises(DataError, match="disk is full"):
        fetch_set("grocery", tmp_path)
    assert visible(tmp_path) == [".grocery.tar.gz"]


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [(None, 0, "grocery holds 10 photos"), (DataError("404"), 1, "404"), (KeyboardInterrupt(), 130, "again")],
)
def test_the_command_ends_with_one_line(
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException | None,
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["", "grocery", "--into", str(tmp_path)])
    monkeypatch.setattr("requests.get", Mock(wraps=requests.get, side_effect=failure))
    with pytest.raises(SystemExit) as exit_:
        sys.exit(fetch.main())
    printed = capsys.readouterr()
    assert exit_.value.code == code
    assert message in (printed.err if code else printed.out)
