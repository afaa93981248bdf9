import errno
import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.training.file_server import FileServer, serve
from tests.training.pictures import photo_bytes
from training.data import fetch
from training.data.fetch import fetch_set
from training.data.photos import DataError
from training.data.public_sets import PUBLIC_SETS, PublicSet
from training.data.sources import load_photos

CLASSES = (
    "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)\nApple,0,Fruit,0\nLeek,1,Greens,1\n"
)


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
    root = "GroceryStoreDataset-1234567/dataset"
    members = {f"{root}/classes.csv": CLASSES.encode(), f"{root}/train.txt": b"", f"{root}/val.txt": b""}
    for seed in range(10):
        label_id, split = seed % 2, "train" if seed < 8 else "val"
        place = f"{split}/{seed}.jpg"
        members[f"{root}/{place}"] = photo_bytes(("apple", "leek")[label_id], seed)
        members[f"{root}/{split}.txt"] += f"{place}, {label_id}, {label_id}\n".encode()
    return pack(members)


ARCHIVE = grocery_archive()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_public_set_is_fetched_and_its_digest_recorded(tmp_path: Path) -> None:
    with serve(FileServer(ARCHIVE)) as server:
        folder = fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert folder == tmp_path / "grocery"
    assert len(list(folder.rglob("*.jpg"))) == 10
    assert json.loads((tmp_path / "digests.json").read_text()) == {"grocery": hashlib.sha256(ARCHIVE).hexdigest()}
    assert visible(tmp_path) == ["digests.json", "grocery"]


def test_a_set_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    with serve(FileServer(ARCHIVE)) as server:
        for _ in range(2):
            fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert server.asked == [None]


def test_an_archive_that_was_brought_by_hand_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".grocery.tar.gz").write_bytes(ARCHIVE)
    folder = fetch_set("grocery", tmp_path, url="http://127.0.0.1:1/none", lock_path=tmp_path / "digests.json")
    assert len(list(folder.rglob("*.jpg"))) == 10
    assert visible(tmp_path) == ["digests.json", "grocery"]


def test_processes_that_ask_at_once_fetch_once(tmp_path: Path) -> None:
    with serve(FileServer(ARCHIVE)) as server, ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(fetch_set, "grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
            for _ in range(4)
        ]
        assert {job.result() for job in jobs} == {tmp_path / "grocery"}
    assert server.asked == [None]


def test_a_fetched_set_loads_by_its_name(tmp_path: Path) -> None:
    with serve(FileServer(ARCHIVE, cut_after=[5000])) as server:
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    photos = load_photos("grocery", cache=tmp_path)
    assert (photos.name, photos.labels, photos.groups) == ("grocery", ("Apple", "Leek"), ("Fruit", "Greens"))
    assert (len(photos.of("train")), len(photos.of("val"))) == (8, 2)


def test_another_digest_than_recorded_is_refused_and_deleted(tmp_path: Path) -> None:
    lock_path = tmp_path / "digests.json"
    lock_path.write_text('{"grocery": "0000"}')
    with (
        serve(FileServer(ARCHIVE)) as server,
        pytest.raises(DataError, match=r"has the sha256 [0-9a-f]{64}, it must have 0000: it was changed or damaged"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=lock_path)
    assert visible(tmp_path) == ["digests.json"]
    assert lock_path.read_text() == '{"grocery": "0000"}'


def test_another_digest_than_published_is_refused(tmp_path: Path) -> None:
    with (
        serve(FileServer(ARCHIVE)) as server,
        pytest.raises(DataError, match=r"has the md5 [0-9a-f]{32}, it must have 85eeb15f3717b99a5da872d97d918f87"),
    ):
        fetch_set("food101", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(tmp_path) == []


def test_a_damaged_archive_is_refused_and_fetched_anew_next_time(tmp_path: Path) -> None:
    lock_path = tmp_path / "digests.json"
    with serve(FileServer(ARCHIVE[:-3000])) as server:
        with pytest.raises(DataError, match="cannot be unpacked"):
            fetch_set("grocery", tmp_path, url=server.url, lock_path=lock_path)
        assert visible(tmp_path) == []
        server.content = ARCHIVE
        assert fetch_set("grocery", tmp_path, url=server.url, lock_path=lock_path).is_dir()


@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt"])
def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path, name: str) -> None:
    into = tmp_path / "data"
    with serve(FileServer(pack({name: b"x"}))) as server, pytest.raises(DataError, match="outside the destination"):
        fetch_set("grocery", into, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(into) == []
    assert visible(tmp_path) == ["data"]


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with (
        serve(FileServer(pack({"other/a.txt": b"x"}))) as server,
        pytest.raises(DataError, match=r"has 0 folders GroceryStoreDataset-\*/dataset, it must have one"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(tmp_path) == []


def test_an_archive_whose_lists_name_missing_photos_never_becomes_visible(tmp_path: Path) -> None:
    root = "GroceryStoreDataset-1/dataset"
    content = pack({f"{root}/classes.csv": CLASSES.encode(), f"{root}/train.txt": b"train/none.jpg, 0, 0\n"})
    with (
        serve(FileServer(content)) as server,
        pytest.raises(DataError, match="lists 1 of 1 files that do not exist"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_disk_that_fills_up_while_fetching_is_told(tmp_path: Path) -> None:
    (tmp_path / ".grocery.tar.gz.part").symlink_to("/dev/full")
    with (
        serve(FileServer(ARCHIVE)) as server,
        pytest.raises(DataError, match=r"cannot be written \(No space left on device\); free some space"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(tmp_path) == [".grocery.tar.gz.part"]


def test_a_disk_that_fills_up_while_unpacking_keeps_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "extractall", fail)
    with (
        serve(FileServer(ARCHIVE)) as server,
        pytest.raises(DataError, match=r"cannot be written \(No space left on device\).* what was fetched is kept"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert visible(tmp_path) == [".grocery.tar.gz"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"data cannot be written \(File exists\); free some space or check"):
        fetch_set("grocery", tmp_path / "data", lock_path=tmp_path / "digests.json")


def test_a_lock_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "digests.json").write_text("<<<<<<< ours")
    with (
        serve(FileServer(ARCHIVE)) as server,
        pytest.raises(DataError, match=r"digests\.json is not JSON .* restore it from version control"),
    ):
        fetch_set("grocery", tmp_path, url=server.url, lock_path=tmp_path / "digests.json")
    assert server.asked == []


def test_fetching_by_name_asks_the_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(FileServer(ARCHIVE)) as server:
        monkeypatch.setitem(PUBLIC_SETS, "grocery", PublicSet(server.url, PUBLIC_SETS["grocery"].root))
        fetch_set("grocery", tmp_path, lock_path=tmp_path / "digests.json")
    assert server.asked == [None]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], int]:
    """Run the command as a person would, into `tmp_path`, with the archive at a url."""

    def run(url: str) -> int:
        lock_path = str(tmp_path / "digests.json")
        monkeypatch.setattr(sys, "argv", ["", "grocery", "--into", str(tmp_path), "--url", url, "--lock", lock_path])
        return fetch.main()

    return run


def test_the_command_says_how_many_photos_there_are(
    ask: Callable[[str], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(FileServer(ARCHIVE)) as server:
        assert ask(server.url) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'grocery'} holds 10 photos"


def test_the_command_fails_with_one_sentence(ask: Callable[[str], int], capsys: pytest.CaptureFixture[str]) -> None:
    with serve(FileServer(b"no archive")) as server, pytest.raises(SystemExit) as exit_:
        ask(server.url)
    [sentence] = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 1
    assert sentence.startswith("the archive of grocery cannot be unpacked (")


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "fetch_set", stop)
    monkeypatch.setattr(sys, "argv", ["fetch", "grocery"])
    with pytest.raises(SystemExit) as exit_:
        fetch.main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err == "stopped; run the same command again, it goes on from here\n"
