import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from tests.buckets import Service, run_service
from tests.training.pictures import photo_bytes
from tests.training.shard_files import sample, write_shard
from training.data.bucket import mirror_bucket
from training.data.photo_set import DataError
from training.data.sources import load_photos


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is logged in, as for a user who reads a public bucket."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with run_service(Service()) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        yield running


def put(bucket: storage.Bucket, *places: str) -> None:
    for seed, place in enumerate(places):
        bucket.blob(place).upload_from_string(photo_bytes("apple", seed), content_type="image/jpeg")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("/set/", ["apple/1.jpg", "leek/2 #[x]?.jpg"]), ("", ["set/apple/1.jpg", "set/leek/2 #[x]?.jpg", "settee/3.jpg"])],
)
def test_the_objects_below_a_prefix_are_copied(
    bucket: storage.Bucket, tmp_path: Path, prefix: str, expected: list[str]
) -> None:
    put(bucket, "set/apple/1.jpg", "set/leek/2 #[x]?.jpg", "settee/3.jpg", "set/leek/")
    folder = mirror_bucket(f"gs://{bucket.name}{prefix}", tmp_path)
    assert files(folder) == expected
    assert (folder / expected[1]).read_bytes() == photo_bytes("apple", 1)


def test_a_second_call_fetches_what_changed_and_removes_what_is_gone(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/a.jpg", "set/apple/b.jpg", "set/fig/c.jpg")
    folder = mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    before = (folder / "apple/a.jpg").stat()
    (folder / "apple/b.jpg").write_bytes(b"damaged")
    bucket.blob("set/fig/c.jpg").delete()
    put(bucket, "set/leek/d.jpg")
    mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["apple", "leek"]
    assert files(folder) == ["apple/a.jpg", "apple/b.jpg", "leek/d.jpg"]
    assert (folder / "apple/b.jpg").read_bytes() == photo_bytes("apple", 1)
    after = (folder / "apple/a.jpg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_bucket_is_loaded_like_a_folder(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/1.jpg", "set/apple/2.jpg", "set/leek/3.jpg", "set/leek/4.jpg")
    photos = load_photos(f"gs://{bucket.name}/set", cache=tmp_path)
    assert (photos.name, photos.labels, len(photos.photos)) == ("set", ("apple", "leek"), 4)
    assert all(photo.path.is_relative_to(tmp_path) for photo in photos.photos)


def test_shards_in_a_bucket_are_unpacked(bucket: storage.Bucket, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", sample("apple", 1), sample("apple", 2), sample("leek", 3), sample("leek", 4))
    bucket.blob("set/a.tar").upload_from_filename(tmp_path / "a.tar")
    photos = load_photos(f"gs://{bucket.name}/set", cache=tmp_path / "cache")
    assert (photos.labels, len(photos.photos)) == (("apple", "leek"), 4)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://no-such-bucket/set", "gs://no-such-bucket/set does not exist"),
        ("gs://", "'gs://' does not name a bucket"),
    ],
)
def test_a_bucket_that_does_not_exist_is_refused(
    bucket: storage.Bucket, tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mirror_bucket(url, tmp_path)


def test_a_prefix_without_objects_is_refused(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "none")
    with pytest.raises(DataError, match="none holds no objects"):
        mirror_bucket(f"gs://{bucket.name}/none", tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, "{}", "gcloud auth application-default login"),
        (403, "{}", "gcloud auth application-default login"),
        (418, "<html>\n<p>A teapot.</p>", "gs://food/set could not be read"),
        (400, "invalid\nrequest", "gs://food/set could not be read"),
    ],
)
def test_a_failing_service_is_described_in_one_line(
    service: Service, tmp_path: Path, status: int, body: str, message: str
) -> None:
    service.status, service.body = status, body
    with pytest.raises(DataError, match=message) as caught:
        mirror_bucket("gs://food/set", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["set/../../outside.jpg", "set//outside.jpg/../.."])
def test_an_object_whose_path_leads_outside_is_refused(service: Service, tmp_path: Path, name: str) -> None:
    service.body = json.dumps({"items": [{"name": name}]})
    with pytest.raises(DataError, match="outside"):
        mirror_bucket("gs://food/set", tmp_path)
    assert files(tmp_path) == [".food.lock"]


def test_an_object_that_arrives_damaged_is_refused(service: Service, tmp_path: Path) -> None:
    service.body = json.dumps({"items": [{"name": "set/a.jpg", "crc32c": "AAAAAA=="}]})
    with pytest.raises(DataError, match=r"gs://food/set/a\.jpg"):
        mirror_bucket("gs://food/set", tmp_path)
