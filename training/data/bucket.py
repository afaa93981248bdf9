"""A Google Cloud Storage bucket, copied to a local folder."""

import base64
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path, PurePosixPath

import google_crc32c
from filelock import FileLock
from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from rich.progress import track

from training.data.photos import DataError

_DOWNLOADS_AT_ONCE = 8


def mirror_bucket(url: str, cache: Path) -> Path:
    """Return the folder in *cache* that holds what *url* (`gs://bucket/prefix`) holds now; raise `DataError`.

    Only objects that are new or changed are fetched; what the bucket no longer has is removed.
    """
    bucket, _, prefix = url.removeprefix("gs://").strip("/").partition("/")
    if not bucket:
        raise DataError(f"{url!r} names no bucket; write gs://bucket/prefix")
    folder = cache / bucket / prefix
    folder.mkdir(parents=True, exist_ok=True)
    # The processes of a distributed run all ask at once.
    with FileLock(cache / f".{bucket}.lock"):
        try:
            _mirror(_list_objects(bucket, prefix), prefix, folder)
        except (Forbidden, Unauthorized, GoogleAuthError) as error:
            raise DataError(
                f"reading {url} is not allowed ({_first_line(error)}); run `gcloud auth application-default login`, "
                "or ask its owner for the role Storage Object Viewer"
            ) from error
        except NotFound as error:
            raise DataError(f"{url} does not exist ({_first_line(error)}); check the bucket's name") from error
        except (GoogleAPIError, OSError) as error:
            raise DataError(
                f"{url} could not be read ({_first_line(error)}); run the same command again, it goes on from here"
            ) from error
    return folder


def _list_objects(bucket: str, prefix: str) -> list[storage.Blob]:
    try:
        client = storage.Client()
    except DefaultCredentialsError:
        # Public buckets can be read by anyone.
        client = storage.Client.create_anonymous_client()
    listed = client.list_blobs(bucket, prefix=f"{prefix}/" if prefix else None)
    objects = [blob for blob in listed if not blob.name.endswith("/")]
    if not objects:
        raise DataError(f"gs://{bucket}/{prefix} holds no objects; check the prefix")
    return objects


def _mirror(objects: Sequence[storage.Blob], prefix: str, folder: Path) -> None:
    paths = {folder / _place(blob.name, prefix): blob for blob in objects}
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in paths]:
        path.unlink()
    # A label whose photos are gone must not stay behind as an empty folder.
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    stale = [(path, blob) for path, blob in paths.items() if not _is_current(path, blob)]
    with ThreadPool(_DOWNLOADS_AT_ONCE) as pool:
        for _ in track(pool.imap_unordered(_fetch, stale), "Fetching", total=len(stale), transient=True):
            pass


def _place(name: str, prefix: str) -> PurePosixPath:
    place = PurePosixPath(name).relative_to(prefix)
    if ".." in place.parts or place.is_absolute():
        raise DataError(f"the object {name!r} would be written outside its folder; rename it")
    return place


def _is_current(path: Path, blob: storage.Blob) -> bool:
    if not path.exists():
        return False
    checksum = google_crc32c.value(path.read_bytes())
    held: str = base64.b64encode(checksum.to_bytes(4, "big")).decode()
    return held == str(blob.crc32c)


def _fetch(item: tuple[Path, storage.Blob]) -> None:
    path, blob = item
    path.parent.mkdir(parents=True, exist_ok=True)
    part_path = path.with_name(path.name + ".part")
    # The client compares the checksum of what arrived with the bucket's.
    blob.download_to_filename(part_path)
    part_path.replace(path)


def _first_line(error: Exception) -> str:
    # Proxies answer with whole pages.
    return str(error).partition("\n")[0]
