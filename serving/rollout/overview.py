"""Which versions there are: registered with the server, or waiting in its model store."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from model_archive.identity import ArchiveError, check_version, file_name, version_order
from serving.management import Server, UnknownVersion, Version
from serving.model_store import SERVED_NAME
from serving.rollout.archive import Archive, read_archive
from serving.rollout.record import Record, read_record
from serving.torchserve import MODEL


@dataclass(frozen=True)
class Row:
    """One version; what a version that is not registered has not is None."""

    version: str
    role: str
    """default, way back, kept, or in store."""
    ready: str | None = None
    """READY workers of those wanted."""
    waiting: int | None = None
    """Requests in its queue."""
    since: str | None = None
    """When it was promoted, or else loaded."""
    digest: str | None = None
    """SHA-256 of its archive in the model store, in hex; None if that is gone."""


def list_rows(server: Server) -> list[Row]:
    """Return all versions, the lowest first."""
    registered = {version.model_version: version for version in server.management.list_versions()}
    try:
        default = server.management.describe().model_version
    except UnknownVersion:
        default = ""
    record = read_record(server.store)
    digests = _stored_digests(server.store)
    rows = [
        _describe(version, registered.get(version), default, record, digests.get(version))
        for version in registered.keys() | digests.keys()
    ]
    return sorted(rows, key=lambda row: _order(row.version))


def draw_table(rows: Iterable[Row]) -> Table:
    """Return *rows* for a terminal."""
    table = Table(show_edge=False, box=None, pad_edge=False)
    for column in ("version", "role", "workers", "waiting", "since", "sha256"):
        table.add_column(column, justify="right" if column in ("workers", "waiting") else "left")
    for row in rows:
        waiting = "" if row.waiting is None else str(row.waiting)
        digest = row.digest[:12] if row.digest else "unknown"
        table.add_row(row.version, row.role, row.ready or "", waiting, row.since or "", digest)
    return table


def _describe(version: str, registered: Version | None, default: str, record: Record, digest: str | None) -> Row:
    if registered is None:
        return Row(version, "way back" if version == record.way_back(default) else "in store", digest=digest)
    role = "default" if version == default else "way back" if version == record.way_back(default) else "kept"
    promoted = record.since if version == default == record.default else None
    return Row(
        version,
        role,
        f"{registered.ready_workers} of {registered.min_workers}",
        registered.job_queue_status.pending_requests,
        promoted or registered.loaded_at,
        digest,
    )


def _stored_digests(store: Path) -> dict[str, str]:
    """Return the digest for each version in *store*; what cannot be read is left out."""
    found: dict[str, str] = {}
    # The names of versions last: create-only, they say best what was registered.
    for path in (store / SERVED_NAME, *sorted(store.glob(f"{MODEL}-*.mar"))):
        if archive := _try_read(path):
            found[archive.version] = archive.digest
    return found


def _try_read(path: Path) -> Archive | None:
    try:
        archive = read_archive(path)
    except (ArchiveError, OSError):
        return None
    return archive if path.name in (SERVED_NAME, file_name(archive.version)) else None


def _order(version: str) -> tuple[tuple[int, ...], str]:
    try:
        return version_order(check_version(version)), version
    except ArchiveError:
        # Registered by hand, with a name of somebody's own.
        return (), version
