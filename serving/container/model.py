"""The archive that the container serves: the one in the image, or the one that MODEL_URI names; verified."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from model_archive.identity import ArchiveError
from model_archive.registry import RegistryError, open_registry
from model_archive.signature import SignatureError
from serving.container.exits import Ending, Exit
from serving.container.settings import Settings
from serving.model_store import BUILD, DEFAULT_ARCHIVES, ModelStoreError, newest_archive, stage

STORE = "model_store"
"""In the container's folder."""

_REFUSALS = (ModelStoreError, RegistryError, SignatureError, ArchiveError, OSError)
_CLOCK_WORDS = ("not yet valid", "has expired", "check your iat and exp", "token used too early")


def place_archive(settings: Settings) -> Path:
    """Return the archive, verified and put where TorchServe loads it from; raises `Ending`."""
    store = settings.folder / STORE
    if settings.model_uri:
        with _explained(settings.model_uri):
            uri, _, version = settings.model_uri.rpartition("/")
            return stage(open_registry(uri).fetch(version, settings.folder / "fetched", settings.public_key), store)
    with _explained("the archive in the image"):
        return stage(newest_archive(BUILD, DEFAULT_ARCHIVES), store, settings.public_key)


@contextmanager
def _explained(source: str) -> Iterator[None]:
    """Turn a refusal of the registry, of the signature or of the disk into the end with its code."""
    try:
        yield
    except _REFUSALS as error:
        raise Ending(_code_of(error), f"{source}: {error}") from error


def _code_of(error: BaseException) -> Exit:
    """Return the exit code by what lies at the bottom of *error*: the registry has one type for all."""
    for cause in _causes(error):
        if any(word in str(cause).lower() for word in _CLOCK_WORDS):
            return Exit.CLOCK
        if isinstance(cause, SignatureError):
            return Exit.SIGNATURE
        # The status of an answer of the bucket.
        if isinstance(cause, PermissionError) or getattr(cause, "code", None) in (401, 403):
            return Exit.PERMISSION
        if isinstance(cause, OSError) and cause.errno in (ENOSPC, EDQUOT):
            return Exit.SPACE
    return Exit.ARCHIVE


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
