"""A Google Cloud Storage bucket, copied to a local folder."""

import base64
import logging
from collections.abc import Callable
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
        except FileNotFoundError as error:
            raise DataError(f"{url} does not exist ({_first_line(error)}); check the bucket's name") from error
        except (HttpError, GoogleAuthError, aiohttp.ClientError, OSError, ValueError) as error:
            raise DataError(_explain(url, error)) from error
    return folder


def _mirror(place: str, folder: Path) -> None:
    """Make *folder* equal to the objects below *place* (`bucket/prefix`)."""
    # Without caches: a second call in one process must see what changed.
    storage = GCSFileSystem(
        access="read_only",
        requests_timeout=_TIMEOUT,
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    checksums = {
        name: entry.get("crc32c", "")
        for name, entry in storage.find(place, detail=True).items()
        if name.startswith(f"{place}/") and not name.endswith("/")
    }
    if not checksums:
        raise DataError(f"gs://{place} holds no objects; check the prefix")
    paths = {name: folder / _relative_place(name, place) for name in checksums}
    _remove_others(folder, set(paths.values()))
    stale = [name for name in checksums if not _is_current(paths[name], checksums[name])]
    with show_progress("Fetching photos", len(stale), "files") as advance:
        # More streams for one object would cost a request for the size of each.
        storage.get(stale, [str(paths[name]) for name in stale], callback=_Counter(advance), concurrency=1)
    # gcsfs compares MD5, which composite objects lack, or CRC32C by another package.
    damaged = [name for name in stale if not _is_current(paths[name], checksums[name])]
    if damaged:
        raise DataError(f"gs://{damaged[0]} arrived damaged; run the same command again")


def _relative_place(name: str, place: str) -> PurePosixPath:
    relative = PurePosixPath(name).relative_to(place)
    if ".." in relative.parts:
        raise DataError(f"the object {name!r} would be written outside its folder; rename it")
    return relative


def _remove_others(folder: Path, paths: set[Path]) -> None:
    """Remove all files but *paths*, and folders that are empty then: an empty folder would count as a label."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and path not in paths:
            path.unlink()


def _is_current(path: Path, crc32c: str) -> bool:
    if not path.exists():
        return False
    held: str = base64.b64encode(google_crc32c.value(path.read_bytes()).to_bytes(4, "big")).decode()
    return held == crc32c


class _Counter(Callback):  # type: ignore[misc]  # ships no types
    """Counts the files that were fetched."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        super().__init__()
        self._advance = advance

    def relative_update(self, inc: int = 1) -> None:
        self._advance(inc)


def _explain(url: str, error: Exception) -> str:
    reason = _first_line(error)
    if isinstance(error, GoogleAuthError) or getattr(error, "code", None) == 401 or reason.startswith("Forbidden"):
        return (
            f"reading {url} is not allowed ({reason}); run `gcloud auth application-default login`, "
            "or ask its owner for the role Storage Object Viewer"
        )
    return f"{url} could not be read ({reason}); run the same command again, it fetches only what is missing"


def _first_line(error: Exception) -> str:
    # Proxies answer with whole pages.
    return str(error).partition("\n")[0]
