import errno
import os
from pathlib import Path

import msgspec
import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from scoring.destination import (
    PART_PHOTOS,
    Destination,
    DestinationError,
    RunSettings,
    check_apart,
    check_same,
)
from scoring.photo_listing import PhotoPlace

SETTINGS = RunSettings(source="photos", format="jsonl", version="1.0.0", archive_digest="a" * 64, num_photos=300)


def begin(uri: str, num_photos: int = 300) -> Destination:
    """Return a destination whose photos are listed."""
    destination = Destination(uri)
    assert destination.write_list(PhotoPlace(f"{number}.jpg") for number in range(num_photos)) == num_photos
    destination.write_settings(msgspec.structs.replace(SETTINGS, num_photos=num_photos))
    return destination


def pending(destination: Destination) -> list[int]:
    return [part.number for part in destination.pending_parts(SETTINGS)[0]]


def test_parts_that_are_written_are_not_pending(tmp_path: Path) -> None:
    destination = begin(str(tmp_path))

    destination.write_part(1, b"rows", "jsonl", retry=False)

    parts, num_done = destination.pending_parts(SETTINGS)
    assert ([part.number for part in parts], num_done) == ([0, 2], PART_PHOTOS)


def test_the_photos_of_a_part_are_those_of_its_place_in_the_list(tmp_path: Path) -> None:
    destination = begin(str(tmp_path))

    last = destination.pending_parts(SETTINGS)[0][-1]

    assert [place.name for place in destination.read_photos(last)] == [f"{n}.jpg" for n in range(2 * PART_PHOTOS, 300)]


def test_a_part_to_retry_is_pending_until_it_is_written_without(tmp_path: Path) -> None:
    destination = begin(str(tmp_path))

    destination.write_part(0, b"rows", "jsonl", retry=True)
    first = pending(destination)
    destination.write_part(0, b"better rows", "jsonl", retry=False)

    assert (first, pending(destination)) == ([0, 1, 2], [1, 2])
    assert (tmp_path / "part-000000.jsonl").read_bytes() == b"better rows"


def test_a_list_without_settings_is_not_complete(tmp_path: Path) -> None:
    destination = Destination(str(tmp_path))

    destination.write_list(iter([PhotoPlace("a.jpg")]))

    assert destination.read_settings() is None


def test_a_bucket_is_a_destination(bucket: storage.Bucket) -> None:
    destination = begin(f"gs://{bucket.name}/scores")

    destination.write_part(0, b"rows", "jsonl", retry=True)
    destination.write_part(0, b"rows", "jsonl", retry=False)

    assert destination.read_settings() == SETTINGS
    assert pending(destination) == [1, 2]
    assert bucket.blob("scores/part-000000.jsonl").download_as_bytes() == b"rows"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            {"archive_digest": "b" * 64},
            r"holds scores by version 1\.0\.0 \(a{12}…\), this is the archive of 1\.0\.0 \(b{12}…\)",
        ),
        ({"source": "others"}, "was begun with source photos, now it is others"),
        ({"format": "parquet"}, "was begun with format jsonl, now it is parquet"),
    ],
)
def test_a_run_is_not_resumed_as_another_one(change: dict[str, str], error: str) -> None:
    with pytest.raises(DestinationError, match=error):
        check_same(SETTINGS, msgspec.structs.replace(SETTINGS, **change), "scores")


def test_two_runs_do_not_write_to_one_folder_at_a_time(tmp_path: Path) -> None:
    first, second = Destination(str(tmp_path)), Destination(str(tmp_path))

    with first.locked(), pytest.raises(DestinationError, match="another run writes to"), second.locked():
        pass


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".abc.partial").write_bytes(b"half")

    with Destination(str(tmp_path)).locked():
        left = [path.name for path in tmp_path.iterdir()]

    assert left == ["_scoring"]


def test_a_full_disk_keeps_what_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    destination = begin(str(tmp_path))
    destination.write_part(0, b"rows", "jsonl", retry=False)

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DestinationError, match=r"could not be written \(No space left on device\); free or repair it"):
        destination.write_part(1, b"rows", "jsonl", retry=False)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["_scoring", "part-000000.jsonl"]


@pytest.mark.parametrize("uri", ["photos", "photos/scores", "other/../photos/scores"])
def test_a_destination_inside_the_source_is_refused(uri: str) -> None:
    with pytest.raises(DestinationError, match="is inside the source"):
        check_apart("photos", uri)


@pytest.mark.parametrize(
    ("source", "uri"), [("photos", "photos-scores"), ("gs://b/in", "gs://b/in-scores"), ("a/list.csv", "a/scores")]
)
def test_a_destination_beside_the_source_is_not(source: str, uri: str) -> None:
    check_apart(source, uri)
