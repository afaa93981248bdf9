import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from tests.buckets import Service, run_service
from tests.training.pictures import photo_bytes
from tests.training.shard_files import sample, write_shard
from training.data.bucket import mirror_bucket
from training.data.photos import DataError
from training.data.sources import load_photos


def put(bucket: storage.Bucket, *places: str) -> None:
    for seed, place in enumerate(places):
        bucket.blob(place).upload_from_string(photo_bytes("apple", seed), content_type="image/jpeg")


def held(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_prefix_is_copied_and_nothing_beside_it(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/1.jpg", "set/leek/2.jpg", "settee/3.jpg", "set/leek/")
    folder = mirror_bucket(f"gs://{bucket.name}/set/", tmp_path)
    assert held(folder) == ["apple/1.jpg", "leek/2.jpg"]
    assert (folder / "leek/2.jpg").read_bytes() == photo_bytes("apple", 1)


def test_a_whole_bucket_is_copied(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "apple/1.jpg", "labels.csv")
    assert held(mirror_bucket(f"gs://{bucket.name}", tmp_path)) == ["apple/1.jpg", "labels.csv"]


def test_a_second_copy_fetches_what_changed_and_drops_what_went(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/a.jpg", "set/b.jpg", "set/c.jpg")
    folder = mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    kept = (folder / "a.jpg").stat()
    (folder / "b.jpg").write_bytes(b"damaged")
    bucket.blob("set/c.jpg").delete()
    mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    assert held(folder) == ["a.jpg", "b.jpg"]
    assert (folder / "b.jpg").read_bytes() == photo_bytes("apple", 1)
    again = (folder / "a.jpg").stat()
    assert (again.st_ino, again.st_mtime_ns) == (kept.st_ino, kept.st_mtime_ns)


def test_a_bucket_is_loaded_like_a_folder(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/1.jpg", "set/apple/2.jpg", "set/leek/3.jpg", "set/leek/4.jpg")
    photos = load_photos(f"gs://{bucket.name}/set", cache=tmp_path)
    assert (photos.name, photos.labels, len(photos.photos)) == ("set", ("apple", "leek"), 4)
    assert all(photo.path.is_relative_to(tmp_path) for photo in photos.photos)


def test_a_label_that_went_leaves_no_empty_folder_behind(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, *(f"set/{label}/{number}.jpg" for label in ("apple", "leek", "fig") for number in range(2)))
    mirror_bucket(f"gs://{bucket.name}/set", tmp_path / "buckets")
    for number in range(2):
        bucket.blob(f"set/fig/{number}.jpg").delete()
    assert load_photos(f"gs://{bucket.name}/set", cache=tmp_path).labels == ("apple", "leek")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://no-such-bucket/set", "gs://no-such-bucket/set does not exist .* check the bucket's name"),
        ("gs://", "'gs://' names no bucket; write gs://bucket/prefix"),
    ],
)
def test_a_bucket_that_does_not_exist_is_refused(
    bucket: storage.Bucket, tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        mirror_bucket(url, tmp_path)


def test_shards_in_a_bucket_are_unpacked(bucket: storage.Bucket, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", sample("apple", 1), sample("apple", 2), sample("leek", 3), sample("leek", 4))
    bucket.blob("set/a.tar").upload_from_filename(tmp_path / "a.tar")
    photos = load_photos(f"gs://{bucket.name}/set", cache=tmp_path / "cache")
    assert (photos.labels, len(photos.photos)) == (("apple", "leek"), 4)


def test_a_prefix_without_objects_is_refused(bucket: storage.Bucket, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none holds no objects; check the prefix"):
        mirror_bucket(f"gs://{bucket.name}/none", tmp_path)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with run_service(Service()) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        yield running


@pytest.mark.parametrize("status", [401, 403])
def test_a_bucket_without_permission_says_how_to_get_it(service: Service, tmp_path: Path, status: int) -> None:
    service.status = status
    with pytest.raises(DataError, match=r"reading gs://food/set is not allowed .*`gcloud auth application-default"):
        mirror_bucket("gs://food/set", tmp_path)


def test_a_service_that_fails_is_told_in_one_line(service: Service, tmp_path: Path) -> None:
    service.status, service.body = 418, "<html>\n<p>A teapot.</p>"
    with pytest.raises(DataError, match=r"gs://food/set could not be read .* run the same command again") as caught:
        mirror_bucket("gs://food/set", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["set/../../outside.jpg", "set//outside.jpg/../.."])
def test_an_object_that_reaches_outside_is_refused(service: Service, tmp_path: Path, name: str) -> None:
    service.body = json.dumps({"items": [{"name": name}]})
    with pytest.raises(DataError, match="would be written outside its folder; rename it"):
        mirror_bucket("gs://food/set", tmp_path)


def test_without_credentials_public_buckets_are_read_as_anyone(
    bucket: storage.Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NobodyLoggedIn(storage.Client):  # type: ignore[misc]  # ships no types
        def __init__(self, credentials: object = None, **options: object) -> None:
            if credentials is None:
                raise DefaultCredentialsError("no credentials")  # type: ignore[no-untyped-call]  # ships no types
            super().__init__(credentials=credentials, **options)

    put(bucket, "set/a.jpg")
    monkeypatch.setattr(storage, "Client", NobodyLoggedIn)
    assert held(mirror_bucket(f"gs://{bucket.name}/set", tmp_path)) == ["a.jpg"]
