from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitoring.prediction_windows import PredictionLog, cut_windows, read_coordinates, read_log
from monitoring.watched_model import CannotSayError
from tests.monitoring.prediction_logs import START, draw_photos, log_photo, write_log


def test_the_files_of_a_folder_are_one_log_by_time(tmp_path: Path) -> None:
    write_log(tmp_path / "a.jsonl", [log_photo(0), log_photo(2)])
    write_log(tmp_path / "b.jsonl", [log_photo(1), log_photo(3)])

    log = read_log(tmp_path, "1.1.0")

    assert [photo.id for photo in log.photos] == ["0/0", "1/0", "2/0", "3/0"]
    assert log == PredictionLog(log.photos)


def test_photos_of_other_versions_are_counted_and_left_out(tmp_path: Path) -> None:
    path = write_log(tmp_path / "a.jsonl", [log_photo(0), log_photo(1, version="1.0.0"), log_photo(2, version="2.0.0")])

    log = read_log(path, "1.1.0")

    assert [photo.id for photo in log.photos] == ["0/0"]
    assert log.num_other_versions == 2


@pytest.mark.parametrize(
    "line",
    [
        b'{"schema":1,"id":"7/0","time":"2026-11-26T08:0',
        b'{"schema":2}\n',
        b"\xff\xfe\n",
        b"\n",
    ],
    ids=["cut off", "newer schema", "not UTF-8", "empty"],
)
def test_a_line_that_cannot_be_read_is_counted_and_left_out(line: bytes, tmp_path: Path) -> None:
    path = write_log(tmp_path / "a.jsonl", [log_photo(0), log_photo(1)])
    path.write_bytes(path.read_bytes() + line)

    log = read_log(path, "1.1.0")

    assert len(log.photos) == 2
    assert log.num_unreadable == 1


@pytest.mark.parametrize("changes", [{"time": "yesterday"}, {"time": "2026-11-26T08:00:00"}, {"embedding": b"odd"}])
def test_a_line_with_a_damaged_time_or_embedding_is_counted(changes: dict[str, Any], tmp_path: Path) -> None:
    log = read_log(write_log(tmp_path / "a.jsonl", [log_photo(0, **changes)]), "1.1.0")

    assert (len(log.photos), log.num_unreadable) == (0, 1)


def test_a_clock_that_jumps_back_is_counted_and_photos_are_by_time(tmp_path: Path) -> None:
    earlier = (START - timedelta(hours=1)).isoformat()
    path = write_log(tmp_path / "a.jsonl", [log_photo(0), log_photo(1, time=earlier), log_photo(2)])

    log = read_log(path, "1.1.0")

    assert [photo.id for photo in log.photos] == ["1/0", "0/0", "2/0"]
    assert log.num_jumps == 1


@pytest.mark.parametrize(
    ("num_photos", "size", "starts"),
    [
        (450, 200, [50, 150, 250]),
        (200, 200, [0]),
        (399, 200, [99, 199]),
        (199, 200, []),
        (0, 50, []),
        (103, 51, [2, 27, 52]),
    ],
)
def test_windows_end_at_the_newest_photo_and_share_half(num_photos: int, size: int, starts: list[int]) -> None:
    windows = cut_windows(range(num_photos), size)

    assert [list(window) for window in windows] == [list(range(start, start + size)) for start in starts]


def test_an_embedding_is_read_as_it_was_logged() -> None:
    photo = draw_photos(1, seed=0)[0]

    coordinates_R = read_coordinates(photo)

    assert coordinates_R is not None
    assert coordinates_R.shape == (6,)
    assert (coordinates_R**2).sum() == pytest.approx(1.0, abs=1e-2)


def test_a_log_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotSayError, match=r"none\.jsonl cannot be read \(No such file or directory\)"):
        read_log(tmp_path / "none.jsonl", "1.1.0")
