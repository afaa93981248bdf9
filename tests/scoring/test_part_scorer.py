"""An actor in a process of its own, as Ray runs it: rows of good, bad and missing photos."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from serving.model_store import DEFAULT_ARCHIVE, edit_archive
from tests.pictures import draw_corners, encode
from tests.scoring.scored_rows import read_parquet_rows, read_rows, score_directly


@pytest.fixture(scope="module")
def photos(coffee: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "1-coffee.png").write_bytes(coffee)
    (folder / "2-notes.txt").write_text("no image")
    (folder / "3-empty.jpg").write_bytes(b"")
    (folder / "4-cut.png").write_bytes(coffee[: len(coffee) // 2])
    (folder / "5-gone.jpg").symlink_to("nowhere.jpg")
    with (folder / "6-large.jpg").open("wb") as file:
        file.truncate((1 << 25) + 1)
    (folder / "7-corners.heic").write_bytes(encode(draw_corners(), "HEIF"))
    (folder / "7-secret.jpg").write_bytes(coffee)
    (folder / "7-secret.jpg").chmod(0)
    (folder / "8-photos.json").write_text('{"instances": [{"b64": "AAAA"}]}')
    (folder / "9-bad-photos.json").write_text('{"instances": [{"b64": "AAAA"}, {"b64": "AAAA"}]}')
    encoded = base64.b64encode(coffee).decode()
    (folder / "9-photos.json").write_text(json.dumps({"instances": [{"b64": encoded}, {"b64": encoded}]}))
    return folder


@pytest.fixture(scope="module")
def scores(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("scores")
    score_directly(photos, destination, DEFAULT_ARCHIVE)
    return destination


def test_a_good_photo_has_labels_and_a_digest(scores: Path, coffee: bytes) -> None:
    row = read_rows(scores)[0]

    assert (row["photo"], row["labels"][0]["label"], row["version"]) == ("1-coffee.png", "espresso", "1.0.0")
    assert row["digest"] == hashlib.sha256(coffee).hexdigest()
    assert row["milliseconds"]["decode"] > 0


def test_each_bad_photo_is_a_row_with_its_error(scores: Path) -> None:
    rows = read_rows(scores)

    assert [row["index"] for row in rows] == list(range(11))
    assert {row["photo"]: row["error"]["type"].removeprefix("urn:fruity:") for row in rows if row["error"]} == {
        "2-notes.txt": "not-a-photo",
        "3-empty.jpg": "malformed-request",
        "4-cut.png": "unusable-photo",
        "5-gone.jpg": "unreadable",
        "6-large.jpg": "too-large",
        "7-secret.jpg": "unreadable",
        "8-photos.json": "not-a-photo",
        "9-bad-photos.json": "not-a-photo",
        "9-photos.json": "malformed-request",
    }


def test_parquet_has_the_same_rows(scores: Path, photos: Path, tmp_path: Path) -> None:
    score_directly(photos, tmp_path, DEFAULT_ARCHIVE, "parquet")

    timed = [(row | {"milliseconds": None}) for row in read_parquet_rows(tmp_path)]
    assert timed == [(row | {"milliseconds": None}) for row in read_rows(scores)]


def test_photos_and_rows_may_be_in_a_bucket(coffee: bytes, bucket: storage.Bucket) -> None:
    for number in range(20):
        bucket.blob(f"in/{number:02}.png").upload_from_string(coffee)
    place = f"gs://{bucket.name}"

    first = score_directly(f"{place}/in", f"{place}/out", DEFAULT_ARCHIVE)
    second = score_directly(f"{place}/in", f"{place}/out", DEFAULT_ARCHIVE)

    rows = [json.loads(line) for line in bucket.blob("out/part-000000.jsonl").download_as_text().splitlines()]
    assert ([part["num_photos"] for part in first], second) == ([20], [])
    assert [row["photo"] for row in rows] == [f"{number:02}.png" for number in range(20)]
    assert {row["labels"][0]["label"] for row in rows} == {"espresso"}


def test_a_photo_that_could_not_be_read_is_tried_again_by_the_next_run(
    coffee: bytes, cat: bytes, tmp_path: Path
) -> None:
    photos, scores = tmp_path / "photos", tmp_path / "scores"
    photos.mkdir()
    (photos / "a.png").write_bytes(coffee)
    (photos / "b.png").symlink_to("later.png")
    score_directly(photos, scores, DEFAULT_ARCHIVE)
    first = [row["error"] and row["error"]["type"] for row in read_rows(scores)]
    (photos / "later.png").write_bytes(cat)

    again = score_directly(photos, scores, DEFAULT_ARCHIVE)
    third = score_directly(photos, scores, DEFAULT_ARCHIVE)

    assert (first, third) == ([None, "urn:fruity:unreadable"], [])
    assert [(part["num_errors"], part["num_retries"]) for part in again] == [(0, 0)]
    assert [row["error"] for row in read_rows(scores)] == [None, None]


def test_a_photo_on_which_the_model_fails_costs_no_other_its_answer(coffee: bytes, tmp_path: Path) -> None:
    """The handler of this archive raises at photos that begin with FAIL."""
    archive = write_failing_archive(tmp_path / "fruity-1.0.0.mar")
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes(coffee)
    (photos / "b.jpg").write_bytes(b"FAIL")

    said = score_directly(photos, tmp_path / "scores", archive)

    good, bad = read_rows(tmp_path / "scores")
    assert good["labels"][0]["label"] == "espresso"
    assert (bad["error"]["type"], bad["error"]["status"]) == ("urn:fruity:model-failed", 500)
    assert "RuntimeError: no such photo" in bad["error"]["detail"]
    assert [(part["num_errors"], part["num_retries"]) for part in said] == [(1, 1)]


def write_failing_archive(path: Path) -> Path:
    failing = b"""
class FruityHandler(FruityHandler):
    def handle(self, rows, context):
        if any(row["body"].startswith(b"FAIL") for row in rows):
            raise RuntimeError("no such photo")
        return super().handle(rows, context)
"""
    return edit_archive(DEFAULT_ARCHIVE, path, {"fruity_handler.py": lambda content: content + failing})
