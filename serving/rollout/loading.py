"""A version loaded into the running server, with the worker's own words if that fails."""

from datetime import UTC, datetime

from model_archive.identity import file_name
from serving.management import LoadError, Server
from serving.worker_log import FAILURE_FILE, read_failure


def load_version(server: Server, version: str) -> None:
    """Register the archive of *version* in the model store and return once its workers are READY.

    Raises `LoadError` with the worker's error, if the server writes its failures into the model store, or another
    `ManagementError`.
    """
    started = datetime.now(UTC)
    try:
        server.management.register(file_name(version))
    except LoadError as error:
        if failure := read_failure(server.store, version, started):
            path = server.store / FAILURE_FILE
            raise LoadError(f"{error}: {failure.reason} (traceback: {path}, and the server's log)") from error
        raise LoadError(f"{error}; the server's log has the worker's traceback") from error
