"""A Google Cloud Storage bucket, copied to a local folder."""

import base64
import logging
from pathlib import Path, PurePosixPath

import aiohttp
import google_crc32c
from filelock import FileLock
from fsspec.callbacks import Callback  # type: ignore[import-untyped]  # ships no types
from gcsfs import GCSFileSystem  # type: ignore[import-untyped]  # ships no types
from gcsfs.retry import HttpError  # type: ignore[import-untyped]  # ships no types
from google.auth.exceptions import GoogleAuthError

from training.data.photo_set import DataError
from training.progress import show_progress

# The default ends a transfer after five minutes; shards take longer.
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=60.0)
_CHUNK_BYTES = 1 << 20


def mirror_bucket(url: str, cache: Path) -> Path:
    """Return the folder in *cache* that is equal to *url* (`gs://bucket/prefix`); raise `DataError`.

    Only objects that are new or changed are fetched; files whose object is gone are removed.
    """
    place = url.removeprefix("gs://").strip("/")
    if not place:
        raise DataError(f"{url!r} does not name a bucket; write gs://bucket/prefix")
    folder = cache / place
    folder.mkdir(parents=True, exist_ok=True)
    # gcsfs logs every error with its traceback before it raises it.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # The processes of a distributed run call this at the same time.
    with FileLock(cache / f".{place.partition('/')[0]}.lock"):
        try:
            _mirror(place, folder)
        except (HttpError, GoogleAuthError, aiohttp.ClientError, OSError, ValueError) as error:
            raise DataError(_explain(url, error)) from error
    return folder


def _mirror(place: str, folder: Path) -> None:
    """Make *folder* equal to the objects below *place* (`bucket/prefix`)."""
    # Without caches: a second call in one process must see what changed.
    storage = GCSFileSystem(
        access="read_only", requests_timeout=_TIMEOUT, skip_instance_cache=True, use_listings_cache=False
    )
    found = storage.find(place, detail=True)
    names = [name for name in found if name.startswith(f"{place}/") and not name.endswith("/")]
    if not names:
        raise DataError(f"gs://{place} holds no objects; check the prefix")
    paths = {name: folder / PurePosixPath(name).relative_to(place) for name in names}
    if outside := [name for name in names if ".." in PurePosixPath(name).parts]:
        raise DataError(f"the object {outside[0]!r} would be written outside its folder; rename it")
    _remove_others(folder, set(paths.values()))
    stale = [name for name in names if not _is_current(paths[name], found[name])]
    counter = Callback()
    with show_progress("Fetching photos", len(stale), "files") as advance:
        counter.relative_update = advance
        # More streams for one object would cost a request for the size of each.
        storage.get(stale, [str(paths[name]) for name in stale], callback=counter, concurrency=1)
    # gcsfs compares MD5, which composite objects lack, or CRC32C by another package.
    if damaged := [name for name in stale if not _is_current(paths[name], found[name])]:
        raise DataError(f"gs://{damaged[0]} arrived damaged; run the same command again")


def _remove_others(folder: Path, paths: set[Path]) -> None:
    """Remove all files but *paths*, and folders that are empty then: an empty folder would count as a label."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path not in paths:
            path.unlink()


def _is_current(path: Path, entry: dict[str, str]) -> bool:
    if not path.exists():
        return False
    checksum = 0
    with path.open("rb") as file:
        # A shard may be larger than the memory.
        while chunk := file.read(_CHUNK_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode() == entry.get("crc32c")


def _explain(url: str, error: Exception) -> str:
    # Proxies answer with whole pages.
    reason = str(error).partition("\n")[0]
    if isinstance(error, FileNotFoundError):
        return f"{url} does not exist ({reason}); check the bucket's name"
    if isinstance(error, GoogleAuthError) or getattr(error, "code", None) == 401 or reason.startswith("Forbidden"):
        return (
            f"reading {url} is not allowed ({reason}); run `gcloud auth application-default login`, "
            "or ask its owner for the role Storage Object Viewer"
        )
    return f"{url} could not be read ({reason}); run the same command again, it fetches only what is missing"
