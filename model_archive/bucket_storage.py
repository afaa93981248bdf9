"""A registry in a Google Cloud Storage bucket."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from google.api_core.exceptions import (
    Forbidden,
    GoogleAPIError,
    NotFound,
    PreconditionFailed,
    RequestRangeNotSatisfiable,
    Unauthorized,
)
from google.api_core.retry import Retry
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.exceptions import DataCorruption  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]  # ships no types
from requests import RequestException

from model_archive.storage import CHUNK_BYTES, RegistryError

# The client's own policy, for at most a minute.
_RETRY = DEFAULT_RETRY.with_timeout(60.0)


class BucketStorage:
    def __init__(self, uri: str, retry: Retry = _RETRY) -> None:
        """*uri* is `gs://bucket/prefix`."""
        name, _, prefix = uri.removeprefix("gs://").strip("/").partition("/")
        if not name:
            raise RegistryError(f"{uri!r} does not name a bucket; write gs://bucket/prefix")
        self.uri = uri.rstrip("/")
        self._prefix = f"{prefix}/" if prefix else ""
        self._retry = retry
        with self._errors("read"):
            self._bucket = _connect().bucket(name)

    def list_names(self, folder: str) -> list[str]:
        start = f"{self._prefix}{folder}/"
        with self._errors("read"):
            listed = self._bucket.list_blobs(prefix=start, delimiter="/", retry=self._retry)
            return sorted(blob.name.removeprefix(start) for blob in listed)

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        blob = self._bucket.blob(self._prefix + name)
        with self._errors("read"), suppress(RequestRangeNotSatisfiable):
            while True:
                # The bucket's checksum covers the whole object; the registry compares its SHA-256.
                chunk = blob.download_as_bytes(
                    start=start, end=start + CHUNK_BYTES - 1, checksum=None, retry=self._retry
                )
                yield chunk
                start += len(chunk)
                if len(chunk) < CHUNK_BYTES:
                    return

    def create(self, name: str, content: BinaryIO, num_bytes: int) -> bool:
        blob = self._bucket.blob(self._prefix + name)
        with self._errors("written"):
            try:
                blob.upload_from_file(
                    content, size=num_bytes, if_generation_match=0, checksum="crc32c", retry=self._retry
                )
            except PreconditionFailed:
                return False
        return True

    @contextmanager
    def _errors(self, act: str) -> Iterator[None]:
        try:
            yield
        except NotFound as error:
            raise RegistryError(
                f"{self.uri} does not exist or lacks an object ({_first_line(error)}); check the bucket's name"
            ) from error
        except (GoogleAPIError, TransportError, RequestException, DataCorruption) as error:
            if isinstance(error, Forbidden | Unauthorized):
                raise self._not_allowed(act, error) from error
            raise RegistryError(
                f"{self.uri} could not be {act} ({_first_line(error)}); check the network, then run the command again "
                "to continue"
            ) from error
        except GoogleAuthError as error:
            raise self._not_allowed(act, error) from error

    def _not_allowed(self, act: str, error: Exception) -> RegistryError:
        verb, role = ("read", "Storage Object Viewer") if act == "read" else ("write to", "Storage Object User")
        return RegistryError(
            f"you may not {verb} {self.uri} ({_first_line(error)}); run `gcloud auth application-default login`, or "
            f"ask its owner for the role {role}"
        )


def _connect() -> storage.Client:
    try:
        # A bucket's name is enough; a project is not needed.
        return storage.Client(project=None)
    except DefaultCredentialsError:
        # Public buckets need no credentials.
        return storage.Client.create_anonymous_client()


def _first_line(error: Exception) -> str:
    # Proxies answer with HTML pages.
    return str(error).partition("\n")[0]
