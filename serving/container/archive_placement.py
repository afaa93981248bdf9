"""The archive that the container serves: the one of MODEL_URI or the one in the image, verified."""

from errno import EDQUOT, ENOSPC
from pathlib import Path

from model_archive.archive_registry import RegistryError, open_registry
from model_archive.identity import ArchiveError
from model_archive.signature import SignatureError
from serving.container.container_settings import ContainerSettings
from serving.container.exit_codes import ContainerExit, ExitCode
from serving.model_store import ModelStoreError, choose_archive, stage

STORE = "model_store"
"""In the run folder."""

_CLOCK_WORDS = ("not yet valid", "has expired", "check your iat and exp", "token used too early")


def place_archive(settings: ContainerSettings) -> Path:
    """Return the archive, verified and copied into the model store; raise `ContainerExit`."""
    store = settings.run_folder / STORE
    try:
        if not settings.model_uri:
            return stage(choose_archive(), store, settings.public_key)
        uri, _, version = settings.model_uri.rpartition("/")
        return stage(open_registry(uri).fetch(version, settings.run_folder / "fetched", settings.public_key), store)
    except (ModelStoreError, RegistryError, SignatureError, ArchiveError, OSError) as error:
        reason = f"{settings.model_uri or 'the archive in the image'}: {error}"
        raise ContainerExit(_exit_code(error), reason) from error


def _exit_code(error: BaseException) -> ExitCode:
    """Return the exit code for the causes of *error*: the registry raises one type for all of them."""
    cause: BaseException | None = error
    while cause:
        if any(word in str(cause).lower() for word in _CLOCK_WORDS):
            return ExitCode.CLOCK
        if isinstance(cause, SignatureError):
            return ExitCode.SIGNATURE
        # `code` is the HTTP status of a bucket's answer.
        if isinstance(cause, PermissionError) or getattr(cause, "code", None) in (401, 403):
            return ExitCode.PERMISSION
        if isinstance(cause, OSError) and cause.errno in (ENOSPC, EDQUOT):
            return ExitCode.SPACE
        cause = cause.__cause__ or cause.__context__
    return ExitCode.ARCHIVE
