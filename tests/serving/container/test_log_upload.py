import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import BinaryIO

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from handler.log_folder import LogFolder
from model_archive.storage import FolderStorage, RegistryError, open_storage
from serving.container import log_upload
from serving.container.log_upload import INTERVAL_S, LogUpload

LINE = b'{"schema":1}\n'


class AbsentStorage(FolderStorage):
    """A bucket that is away until *is_back*."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_back = False
        self.tried_thrice = Event()
        self._num_tries = 0

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        if self.is_back:
            return super().create(name, content, num_bytes)
        self._num_tries += 1
        if self._num_tries == 3:
            self.tried_thrice.set()
        raise RegistryError("gs://logs could not be written (503)")


class SignallingStorage(FolderStorage):
    """Says when it has two files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.has_both = Event()
        self._num_files = 0

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        created = super().create(name, content, num_bytes)
        self._num_files += 1
        if self._num_files == 2:
            self.has_both.set()
        return created


class HangingStorage(FolderStorage):
    """A bucket that does not answer until *goes_on*."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.goes_on = Event()

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        self.goes_on.wait()
        return super().create(name, content, num_bytes)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFolder]:
    """The log of a worker that writes."""
    running = LogFolder(tmp_path / "log", max_bytes=1_000_000)
    yield running
    running.close()


def test_finished_files_and_photos_are_moved_to_a_bucket(
    log: LogFolder, tmp_path: Path, bucket: storage.Bucket
) -> None:
    log.append(LINE)
    log.close()
    log.append(LINE * 2)
    log.keep_photo("ab12.webp", b"a photo")
    upload = LogUpload(tmp_path / "log", open_storage(f"gs://{bucket.name}/logs"))

    upload.move_finished()

    moved = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs()}
    photo, line = sorted(moved, key=lambda name: name.endswith(".jsonl"))
    assert (photo, moved[photo]) == ("logs/photos/ab12.webp", b"a photo")
    assert (line.startswith("logs/20"), moved[line]) == (True, LINE)
    # The file that the worker writes stays.
    assert [path.read_bytes() for path in (tmp_path / "log").glob("**/*.*")] == [LINE * 2]


def test_files_of_one_name_from_two_servers_are_both_kept_and_a_repeated_upload_is_one(tmp_path: Path) -> None:
    contents = [b'{"id":"a"}\n', b'{"id":"b"}\n', b'{"id":"a"}\n']
    for content in contents:
        (tmp_path / "log").mkdir(exist_ok=True)
        (tmp_path / "log" / "20261126T120000.000000-57.jsonl").write_bytes(content)
        LogUpload(tmp_path / "log", open_storage(str(tmp_path / "moved"))).move_finished()

    assert sorted(path.read_bytes() for path in (tmp_path / "moved").iterdir()) == contents[:2]
    assert not list((tmp_path / "log").iterdir())


def test_without_a_log_yet_nothing_is_moved(tmp_path: Path) -> None:
    LogUpload(tmp_path / "log", open_storage(str(tmp_path / "moved"))).move_finished()

    assert not (tmp_path / "moved").exists()


def test_a_bucket_that_is_away_is_said_once_and_gets_all_files_when_it_is_back(
    log: LogFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_upload, "INTERVAL_S", 0.01)
    away = AbsentStorage(tmp_path / "moved")
    upload = LogUpload(tmp_path / "log", away)
    for _ in range(3):
        log.append(LINE)
        log.close()

    upload.start()
    assert away.tried_thrice.wait(timeout=60)
    num_left = len(list((tmp_path / "log").iterdir()))
    away.is_back = True
    upload.finish(timeout_s=60)

    assert num_left == 3
    assert not list((tmp_path / "log").iterdir())
    assert len(list((tmp_path / "moved").iterdir())) == 3
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert line["severity"] == "WARNING"
    assert "stays in" in line["message"]
    assert "(503)" in line["message"]


def test_what_a_container_that_crashed_has_left_is_moved_at_the_next_start(log: LogFolder, tmp_path: Path) -> None:
    """A container that crashes again and again ends before the first interval has passed."""
    log.append(LINE)
    # The lock goes with the worker; the line that it was writing stays cut off.
    log.append(LINE[:-3])
    log.close()
    log.keep_photo("ab12.webp", b"a photo")
    storage = SignallingStorage(tmp_path / "moved")

    LogUpload(tmp_path / "log", storage).start()

    assert storage.has_both.wait(timeout=min(60, INTERVAL_S / 2))
    assert [path.read_bytes() for path in (tmp_path / "moved").glob("*.jsonl")] == [LINE + LINE[:-3]]
    assert (tmp_path / "moved" / "photos" / "ab12.webp").read_bytes() == b"a photo"


def test_at_the_end_what_is_left_is_moved_at_once(log: LogFolder, tmp_path: Path) -> None:
    upload = LogUpload(tmp_path / "log", FolderStorage(tmp_path / "moved"))
    upload.start()
    log.append(LINE)
    log.close()

    upload.finish(timeout_s=60)

    assert [path.read_bytes() for path in (tmp_path / "moved").iterdir()] == [LINE]


def test_the_end_does_not_wait_for_a_bucket_that_hangs(
    log: LogFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hanging = HangingStorage(tmp_path / "moved")
    upload = LogUpload(tmp_path / "log", hanging)
    log.append(LINE)
    log.close()
    upload.start()

    upload.finish(timeout_s=0.01)
    hanging.goes_on.set()

    assert "1 files of the prediction log were not moved" in capfd.readouterr().out
