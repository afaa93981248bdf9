import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from rich.progress import Progress

from tests.training.file_server import FileServer, serve
from training.data.download import download_file
from training.data.photos import DataError

CONTENT = bytes(range(256)) * 1000


def test_a_file_arrives_whole_and_leaves_no_part(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_cut_connections_are_taken_up_where_they_broke(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, cut_after=[100_000, 50_000])) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_part_from_an_earlier_start_is_gone_on_from(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT[:7])
    with serve(FileServer(CONTENT)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT
    assert server.asked == ["bytes=7-"]


def test_what_arrived_before_ctrl_c_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with serve(FileServer(CONTENT)) as server:
        with monkeypatch.context() as patched:
            patched.setattr(Progress, "advance", stop)
            with pytest.raises(KeyboardInterrupt):
                download_file(server.url, tmp_path / "set", pause_s=0)
        arrived = (tmp_path / "set.part").stat().st_size
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert 0 < arrived < len(CONTENT)
    assert server.asked == [None, f"bytes={arrived}-"]
    assert (tmp_path / "set").read_bytes() == CONTENT


def test_a_whole_part_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT)
    with serve(FileServer(CONTENT)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT + b"more")
    with serve(FileServer(CONTENT)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT


def test_a_server_that_sends_another_range_is_asked_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT[:7])
    with serve(FileServer(CONTENT, skew=1)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT
    assert server.asked == ["bytes=7-", None]


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    with serve(FileServer(CONTENT, ranges=False, cut_after=[100_000])) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(tmp_path: Path, status: int) -> None:
    with serve(FileServer(CONTENT, statuses=[status] * 4)) as server:
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert (tmp_path / "set").read_bytes() == CONTENT


def test_after_five_tries_the_last_failure_is_told_and_the_part_kept(tmp_path: Path) -> None:
    (tmp_path / "set.part").write_bytes(CONTENT[:9])
    with (
        serve(FileServer(CONTENT, statuses=[503] * 5)) as server,
        pytest.raises(DataError, match=r"in 5 tries, the last one failed with: status 503; .* goes on after 9 bytes"),
    ):
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert not (tmp_path / "set").exists()
    assert (tmp_path / "set.part").read_bytes() == CONTENT[:9]


def test_an_address_that_does_not_exist_is_told_at_once(tmp_path: Path) -> None:
    with (
        serve(FileServer(CONTENT, statuses=[404])) as server,
        pytest.raises(DataError, match="answered 404 Not Found; check the address"),
    ):
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert server.asked == [None]


def test_too_little_space_is_told_before_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1000))
    with (
        serve(FileServer(CONTENT)) as server,
        pytest.raises(DataError, match=r"has 1,000 bytes free, 256,000 are needed; free some"),
    ):
        download_file(server.url, tmp_path / "set", pause_s=0)
    assert list(tmp_path.iterdir()) == []
