from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.training.file_server import FileServer, serve
from training.data.photo_set import DataError
from training.data.resuming_download import resume_download

CONTENT = bytes(range(256)) * 1000


def download(server: FileServer, folder: Path) -> bytes:
    resume_download(server.url, str(folder / "set"), None, part_path=folder / "set.part", pause_s=0)
    assert [path.name for path in folder.iterdir()] == ["set"]
    return (folder / "set").read_bytes()


@pytest.mark.parametrize(
    ("server", "part", "ranges"),
    [
        (FileServer(), b"", [None]),
        (FileServer(cut_after=[100_000]), b"", [None, "bytes=65536-"]),
        (FileServer(cut_after=[100_000], ranges=False), b"", [None, "bytes=65536-"]),
        (FileServer(statuses=[429, 500, 503, 503]), b"", [None] * 5),
        (FileServer(), CONTENT[:7], ["bytes=7-"]),
        (FileServer(skew=1), CONTENT[:7], ["bytes=7-", None]),
        (FileServer(), CONTENT + b"more", ["bytes=256004-", None]),
    ],
    ids=["plain", "cut", "no ranges", "failures", "earlier process", "another range", "part longer than the file"],
)
def test_the_file_arrives_complete_and_only_a_part_that_fits_is_continued(
    tmp_path: Path, server: FileServer, part: bytes, ranges: list[str | None]
) -> None:
    if part:
        (tmp_path / "set.part").write_bytes(part)
    server.content = CONTENT
    with serve(server):
        assert download(server, tmp_path) == CONTENT
    assert server.ranges_requested == ranges


def test_bytes_received_before_ctrl_c_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(FileServer(CONTENT, cut_after=[200_000])) as server:
        with monkeypatch.context() as patched:
            patched.setattr("time.sleep", Mock(side_effect=[None, KeyboardInterrupt]))
            with pytest.raises(KeyboardInterrupt):
                download(server, tmp_path)
        held = (tmp_path / "set.part").stat().st_size
        assert download(server, tmp_path) == CONTENT
    assert server.ranges_requested == [None, f"bytes={held}-"]


@pytest.mark.parametrize(
    ("statuses", "num_requests", "message"),
    [([503] * 5, 5, r"5 attempts.*503.* 9 bytes"), ([404], 1, "404 Not Found")],
    ids=["after five attempts", "a wrong address at once"],
)
def test_a_download_that_fails_keeps_its_part(
    tmp_path: Path, statuses: list[int], num_requests: int, message: str
) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT[:9])
    with serve(FileServer(CONTENT, statuses=statuses)) as server, pytest.raises(DataError, match=message):
        download(server, tmp_path)
    assert server.ranges_requested == ["bytes=9-"] * num_requests
    assert (tmp_path / "set.part").read_bytes() == CONTENT[:9]
