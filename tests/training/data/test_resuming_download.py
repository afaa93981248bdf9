import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from tests.training.file_server import FileServer, serve
from training.data.photo_set import DataError
from training.data.resuming_download import ResumingDownload

CONTENT = bytes(range(256)) * 1000


def download(server: FileServer, folder: Path) -> bytes:
    ResumingDownload(folder / "set.part", pause_s=0)(server.url, str(folder / "set"))
    return (folder / "set").read_bytes()


@pytest.mark.parametrize(
    "server",
    [
        FileServer(CONTENT),
        FileServer(CONTENT, cut_after=[100_000, 50_000]),
        FileServer(CONTENT, cut_after=[100_000], ranges=False),
        FileServer(CONTENT, statuses=[429, 500, 503, 503]),
    ],
    ids=["plain", "connections break", "no ranges", "failures"],
)
def test_the_file_arrives_complete(tmp_path: Path, server: FileServer) -> None:
    with serve(server):
        assert download(server, tmp_path) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("server", "part", "ranges"),
    [
        (FileServer(CONTENT), CONTENT[:7], ["bytes=7-"]),
        (FileServer(CONTENT, cut_after=[100_000]), b"", [None, "bytes=65536-"]),
        (FileServer(CONTENT, skew=1), CONTENT[:7], ["bytes=7-", None]),
        (FileServer(CONTENT), CONTENT + b"more", ["bytes=256004-", None]),
    ],
    ids=["earlier process", "broken connection", "another range than requested", "part longer than the file"],
)
def test_only_a_part_that_fits_is_continued(
    tmp_path: Path, server: FileServer, part: bytes, ranges: list[str | None]
) -> None:
    (tmp_path / "set.part").write_bytes(part)
    with serve(server):
        assert download(server, tmp_path) == CONTENT
    assert server.ranges_requested == ranges


def test_bytes_received_before_ctrl_c_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with serve(FileServer(CONTENT, cut_after=[200_000])) as server:
        with monkeypatch.context() as patched:
            patched.setattr("time.sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                download(server, tmp_path)
        held = (tmp_path / "set.part").stat().st_size
        assert download(server, tmp_path) == CONTENT
    assert server.ranges_requested == [None, f"bytes={held}-"]


def test_after_five_attempts_the_error_names_the_last_failure(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT[:9])
    with (
        serve(FileServer(CONTENT, statuses=[503] * 5)) as server,
        pytest.raises(DataError, match=r"5 attempts.*503.* 9 bytes"),
    ):
        download(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.part"]
    assert (tmp_path / "set.part").read_bytes() == CONTENT[:9]


def test_a_wrong_address_is_requested_once(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, statuses=[404])) as server, pytest.raises(DataError, match="404 Not Found"):
        download(server, tmp_path)
    assert server.ranges_requested == [None]


def test_too_little_space_is_an_error_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1000))
    with serve(FileServer(CONTENT)) as server, pytest.raises(DataError, match=r"1,000 bytes free, 256,000"):
        download(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
