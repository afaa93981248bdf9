import json
from pathlib import Path

import pytest
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types

from tests.buckets import Service
from tests.training.pictures import photo_bytes, sample, write_shard
from training.data.bucket import mirror_bucket
from training.data.photo_set import DataError
from training.data.sources import load_photos


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody is logged in, as for a user who reads a public bucket."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def put(bucket: storage.Bucket, *places: str) -> None:
    for seed, place in enumerate(places):
        bucket.blob(place).upload_from_string(photo_bytes("apple", seed), content_type="image/jpeg")


def listing(name: str) -> str:
    """Return the service's answer that there is one object."""
    return json.dumps({"items": [{"name": name, "crc32c": "AAAAAA=="}]})


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_objects_below_a_prefix_are_copied(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/1.jpg", "set/leek/2 #[x]?.jpg", "settee/3.jpg", "set/leek/")
    assert len(files(mirror_bucket(f"gs://{bucket.name}", tmp_path / "all"))) == 3
    folder = mirror_bucket(f"gs://{bucket.name}/set/", tmp_path)
    assert files(folder) == ["apple/1.jpg", "leek/2 #[x]?.jpg"]
    assert (folder / "leek/2 #[x]?.jpg").read_bytes() == photo_bytes("apple", 1)


def test_a_second_call_fetches_what_changed_and_removes_what_is_gone(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, "set/apple/a.jpg", "set/apple/b.jpg", "set/fig/c.jpg")
    folder = mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    before = (folder / "apple/a.jpg").stat()
    (folder / "apple/b.jpg").write_bytes(b"damaged")
    bucket.blob("set/fig/c.jpg").delete()
    put(bucket, "set/leek/d.jpg")
    mirror_bucket(f"gs://{bucket.name}/set", tmp_path)
    assert files(folder) == ["apple/a.jpg", "apple/b.jpg", "leek/d.jpg"]
    assert not (folder / "fig").exists()
    assert (folder / "apple/b.jpg").read_bytes() == photo_bytes("apple", 1)
    after = (folder / "apple/a.jpg").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_bucket_of_photos_and_one_of_shards_are_loaded(bucket: storage.Bucket, tmp_path: Path) -> None:
    put(bucket, *(f"set/{label}/{index}.jpg" for index in range(2) for label in ("apple", "leek")))
    write_shard(tmp_path / "a.tar", *(sample(label, seed) for seed, label in enumerate(["apple", "leek"] * 2)))
    bucket.blob("shards/a.tar").upload_from_filename(tmp_path / "a.tar")
    for name in ("set", "shards"):
        photos = load_photos(f"gs://{bucket.name}/{name}", cache=tmp_path / "cache")
        assert (photos.name, photos.labels, len(photos.photos)) == (name, ("apple", "leek"), 4)
        assert all(photo.path.is_relative_to(tmp_path / "cache") for photo in photos.photos)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://no-such-bucket/set", "gs://no-such-bucket/set does not exist"),
        ("gs://BUCKET/none", "none holds no objects"),
        ("gs://", "'gs://' does not name a bucket"),
    ],
)
def test_a_bucket_or_prefix_that_does_not_exist_is_refused(
    bucket: storage.Bucket, tmp_path: Path, url: str, message: str
) -> None:
    put(bucket, "none")
    with pytest.raises(DataError, match=message):
        mirror_bucket(url.replace("BUCKET", bucket.name), tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, "{}", "gcloud auth application-default login"),
        (403, "{}", "gcloud auth application-default login"),
        (418, "<html>\n<p>A teapot.</p>", "gs://food/set could not be read"),
        (400, "invalid\nrequest", "gs://food/set could not be read"),
        (200, listing("set/../../outside.jpg"), "outside"),
        (200, listing("set//outside.jpg/../.."), "outside"),
        (200, listing("set/a.jpg"), r"gs://food/set/a\.jpg"),
    ],
    ids=["not logged in", "forbidden", "web page", "two lines", "outside", "outside by //", "damaged"],
)
def test_a_failing_service_is_described_in_one_line(
    service: Service, tmp_path: Path, status: int, body: str, message: str
) -> None:
    service.status, service.body = status, body
    with pytest.raises(DataError, match=message) as caught:
        mirror_bucket("gs://food/set", tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("outside*"))
