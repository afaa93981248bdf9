"""A registry in a Google Cloud Storage bucket, and what all that reads or writes buckets has in common."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, Unauthorized
from google.api_core.retry import Retry
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.exceptions import DataCorruption  # type: ignore[import-untyped]  # ships no types
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]  # ships no types
from requests import RequestException

from model_archive.storage import CHUNK_BYTES, MissingObjectError, RegistryError

# The client's own policy, for at most a minute.
_RETRY = DEFAULT_RETRY.with_timeout(60.0)


class BucketStorage:
    def __init__(self, uri: str, retry: Retry = _RETRY) -> None:
        """*uri* is `gs://bucket/prefix`."""
        name, self._prefix = split_uri(uri, RegistryError)
        self.uri = uri.rstrip("/")
        self._retry = retry
        with self._errors("read"):
            self._bucket = connect().bucket(name)

    def list_names(self, folder: str) -> list[str]:
        start = f"{self._prefix}{folder}/" if folder else self._prefix
        with self._errors("read"):
            listed = self._bucket.list_blobs(prefix=start, delimiter="/", retry=self._retry)
            return sorted(blob.name.removeprefix(start) for blob in listed)

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        blob = self._bucket.blob(self._prefix + name)
        with self._errors("read"), blob.open("rb", chunk_size=CHUNK_BYTES, retry=self._retry) as reader:
            try:
                reader.seek(start)
                chunk = reader.read(CHUNK_BYTES)
            except NotFound as error:
                raise MissingObjectError(f"{self.uri}/{name} does not exist") from error
            while len(chunk) == CHUNK_BYTES:
                yield chunk
                chunk = reader.read(CHUNK_BYTES)
            yield chunk

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

    def _errors(self, act: str) -> AbstractContextManager[None]:
        return bucket_errors(act, lambda text: RegistryError(f"{self.uri} {text}"))


def split_uri(uri: str, failure: type[Exception]) -> tuple[str, str]:
    """Return the bucket of `gs://bucket/prefix`, and what the names of its objects begin with; raise *failure*."""
    name, _, prefix = uri.removeprefix("gs://").strip("/").partition("/")
    if not name:
        raise failure(f"{uri!r} does not name a bucket; write gs://bucket/prefix")
    return name, f"{prefix}/" if prefix else ""


def connect() -> Any:
    """Return a client, without credentials where none are set up: public buckets need none."""
    try:
        # A bucket's name is enough; a project is not needed.
        return storage.Client(project=None)
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()


@contextmanager
def bucket_errors(act: str, make_failure: Callable[[str], Exception]) -> Iterator[None]:
    """Turn an error of the client into what *make_failure* makes of one line: what could not be *act*, why, the fix."""
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException, DataCorruption) as error:
        # Proxies answer with HTML pages.
        reason = str(error).partition("\n")[0]
        raise make_failure(f"could not be {act} ({reason}); {_advise(act, error)}") from error


def _advise(act: str, error: Exception) -> str:
    if isinstance(error, NotFound):
        return "check the bucket's name and the prefix"
    if isinstance(error, Forbidden | Unauthorized | GoogleAuthError) and not isinstance(error, TransportError):
        role = "Storage Object User" if act in ("written", "removed") else "Storage Object Viewer"
        return f"run `gcloud auth application-default login`, or ask its owner for the role {role}"
    return "check the network, then run the same command again to continue"
