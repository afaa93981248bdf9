"""The registered versions of a running server, listed and changed one step at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from model_archive.entry import hash_file
from model_archive.identity import MODEL, ArchiveError, check_version, file_name, is_version, version_order
from serving.management import LoadError, ManagementError, Server, UnknownVersion, Version
from serving.model_store import (
    SERVED_NAME,
    TRIAL_NAME,
    Archive,
    Source,
    find_stored,
    put_into_store,
    read_archive,
    resolve_archive,
    stage,
)
from serving.rollout.capacity import Machine, check_capacity, read_machine
from serving.rollout.record import Record, RolloutError, hold_lock, read_record, record_default, update_record
from serving.rollout.traffic import drain
from serving.worker_log import FAILURE_FILE, read_failure


class Row(NamedTuple):
    """One version; None is what a version that is not registered does not have."""

    version: str
    role: str  # default, rollback target, kept, or in store
    ready: str | None = None  # READY workers of those wanted
    waiting: int | None = None  # requests in its queue
    since: str | None = None  # when it was promoted, or else loaded
    digest: str | None = None  # SHA-256 of its archive in the model store, in hex; None if that is gone


def list_rows(server: Server) -> list[Row]:
    """Return all versions, registered or in the model store, the lowest first."""
    registered = {version.model_version: version for version in server.management.list_versions()}
    try:
        default = server.management.describe().model_version
    except UnknownVersion:
        default = ""
    record, digests = read_record(server.store), _stored_digests(server.store)
    for version, described in registered.items():
        if Path(described.model_url).name == TRIAL_NAME:
            digests[version] = hash_file(server.store / TRIAL_NAME)
    rows = [
        _describe(version, registered.get(version), default, record, digests.get(version))
        for version in registered.keys() | digests.keys()
    ]
    # A version that was registered by hand may have any name.
    return sorted(rows, key=lambda row: (version_order(row.version) if is_version(row.version) else (), row.version))


def register(server: Server, version: str, source: Source) -> str:
    """Load *version* beside the others; return what was done.

    Raises `ArchiveError` if the model store has another archive of that version: it would be loaded instead.
    """
    check_version(version)
    with hold_lock(server.store, version):
        known = [one.model_version for one in server.management.list_versions()]
        if known:
            record_serving(server.store, server.management.describe().model_version)
        archive = _find_archive(server.store, version, source, known)
        is_new = put_into_store(archive, server.store)
        try:
            load_version(server, version)
        except (ManagementError, KeyboardInterrupt):
            if version not in known:
                _undo_register(server, version, is_new=is_new)
            raise
        if not known:
            _record_only(server.store, version)
        record_registered(server)
    done = f"{version} ({archive.digest[:12]}…) is registered"
    if not known:
        return f"{done} and, as the only version, the default"
    return f"{done}; `make promote VERSION={version}` makes it the default"


def promote(server: Server, version: str) -> str:
    """Make the registered *version* the default, also after a restart; return what was done."""
    with _changing(server, version) as before:
        if version == before:
            return f"{version} is the default already"
        if not (described := server.management.describe(version)).is_ready:
            ready = f"{described.ready_workers} of {described.min_workers} workers of {version} are READY"
            raise RolloutError(f"{ready}; `make scale VERSION={version} WORKERS=2` starts two where there are none")
        for known in (before, version):
            if archive := find_stored(server.store, known):
                put_into_store(archive, server.store)
        server.management.promote(version)
        record_default(server.store, version, old=before)
    return f"{version} is the default, {before} is still registered; `make rollback` goes back to it"


def unregister(server: Server, version: str, *, now: bool = False) -> str:
    """Stop *version* once it has no request left, or *now*; return what was done."""
    if not now:
        with _changing(server, version) as default:
            _refuse_default(version, default)
            server.management.describe(version)
        # Without the lock, so that a rollback need not wait for it.
        drain(server, version)
    with _changing(server, version) as default:
        _refuse_default(version, default)
        server.management.unregister(version)
    return f"{version} is unregistered; its archive stays in the model store"


def scale(server: Server, version: str, workers: int, *, now: bool = False, machine: Machine | None = None) -> str:
    """Give *version* that many workers, fewer than it has only with *now*; return what was done.

    Raises `RolloutError` if *machine*, by default this one, cannot take so many.
    """
    with _changing(server, version):
        running = len(server.management.describe(version).workers)
        if workers < 1:
            raise RolloutError(f"workers is {workers}, allowed is 1 or more; `make unregister` stops a version")
        if workers < running and not now:
            raise RolloutError(
                f"{version} has {running} workers, and TorchServe kills those that it removes with the requests that "
                "they are working on; ARGS=--now does it nevertheless"
            )
        check_capacity(workers, server.management.list_versions(), version, machine or read_machine())
        server.management.scale(version, workers)
    given = "1 worker" if workers == 1 else f"{workers} workers"
    return (
        f"{version} has {given} until the server restarts; after that it has the minWorkers of its "
        "model-config.yaml (`make archive MODEL_CONFIG=…`)"
    )


def record_serving(store: Path, version: str) -> None:
    """Record *version*, which serves, as the default if no default is recorded yet.

    From the first change on, the record decides what a restart serves: the newest archive may be the one that failed.
    """
    if read_record(store).default is None:
        update_record(store, default=version)


def record_registered(server: Server) -> None:
    """Record which versions are registered beside the default."""
    registered = [version.model_version for version in server.management.list_versions()]
    default = read_record(server.store).default
    update_record(server.store, kept=tuple(version for version in registered if version != default))


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


@contextmanager
def _changing(server: Server, version: str) -> Iterator[str]:
    """Hold the lock and yield the default version; record which versions are registered at the end."""
    check_version(version)
    with hold_lock(server.store, version):
        default = server.management.describe().model_version
        record_serving(server.store, default)
        yield default
        record_registered(server)


def _find_archive(store: Path, version: str, source: Source, known: Sequence[str]) -> Archive:
    stored = None if source.registry or source.public_key else find_stored(store, version)
    # TorchServe refuses one of the registered versions *known*; without any, what has served is brought back.
    if stored and (version in known or not known):
        return stored
    return read_archive(resolve_archive(version, store, source), version)


def _refuse_default(version: str, default: str) -> None:
    if version == default:
        raise RolloutError(f"{version} is the default; promote another version first")


def _undo_register(server: Server, version: str, *, is_new: bool) -> None:
    """Remove *version*, which TorchServe keeps though its workers did not start, and its archive if that *is_new*."""
    with suppress(ManagementError):
        server.management.unregister(version)
    if is_new:
        (server.store / file_name(version)).unlink(missing_ok=True)


def _record_only(store: Path, version: str) -> None:
    """Record *version* as the default, which the only version is, also after a restart."""
    old = read_record(store).default
    if old not in (None, version):
        record_default(store, version, old)
    else:
        stage(store / file_name(version), store)
        update_record(store, default=version)


def _describe(version: str, registered: Version | None, default: str, record: Record, digest: str | None) -> Row:
    is_target = version == record.rollback_target(default)
    if registered is None:
        return Row(version, "rollback target" if is_target else "in store", digest=digest)
    return Row(
        version,
        "default" if version == default else "rollback target" if is_target else "kept",
        f"{registered.ready_workers} of {registered.min_workers}",
        registered.job_queue_status.pending_requests,
        (record.since if version == default == record.default else None) or registered.loaded_at,
        digest,
    )


def _stored_digests(store: Path) -> dict[str, str]:
    """Return the digest for each version in *store*, without what cannot be read."""
    found: dict[str, str] = {}
    # The names of versions last: they are create-only, so they show what was registered.
    for path in (store / SERVED_NAME, *sorted(store.glob(f"{MODEL}-*.mar"))):
        try:
            archive = read_archive(path)
        except (ArchiveError, OSError):
            continue
        if path.name in (SERVED_NAME, file_name(archive.version)):
            found[archive.version] = archive.digest
    return found
