"""What survives a restart, and what happened: two files in the model store (docs/decisions/0010).

`versions.json` says which version was promoted, which one it took over from, and which others are registered;
`rollouts.jsonl` has a line for each rollout. The archive that TorchServe loads at its start is `fruity.mar`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from model_archive.identity import file_name
from serving.model_store import stage

RECORD_FILE = "versions.json"
HISTORY_FILE = "rollouts.jsonl"
LOCK_FILE = "rollout.lock"


class RecordError(Exception):
    """Another rollout runs, or the record cannot be read."""


class Underway(msgspec.Struct, frozen=True):
    """The rollout that holds the lock; left behind by one that was killed."""

    version: str
    pid: int
    since: str


class Record(msgspec.Struct, frozen=True):
    default: str | None = None
    since: str | None = None
    """When the default was promoted, ISO 8601."""
    previous: str | None = None
    """The way back."""
    kept: tuple[str, ...] = ()
    """Registered beside the default."""
    underway: Underway | None = None

    def way_back(self, default: str) -> str | None:
        """Return the version to go back to from *default*, which serves."""
        return self.previous if self.default == default else self.default


def read_record(store: Path) -> Record:
    """Return the record of *store*, an empty one if nothing was ever promoted there; raise `RecordError`."""
    path = store / RECORD_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except msgspec.DecodeError as error:
        raise RecordError(f"{path} cannot be read ({error}); delete it, then promote a version again") from error


def write_record(store: Path, record: Record) -> None:
    """Write *record* in one atomic step."""
    _write_partial(store, record).replace(store / RECORD_FILE)


def record_default(store: Path, version: str, previous: str | None) -> None:
    """Let *version* be what comes back after a restart; its archive must stand in *store*."""
    record = msgspec.structs.replace(read_record(store), default=version, since=now(), previous=previous)
    # On a full disk this fails, before what TorchServe loads at its start has changed.
    partial = _write_partial(store, record)
    stage(store / file_name(version), store)
    partial.replace(store / RECORD_FILE)


def remember_serving(store: Path, version: str) -> None:
    """Let *version*, which serves, come back after a restart if nothing was promoted yet.

    From the first change on the record decides, no longer which archive is the newest: that may be the one that failed.
    """
    record = read_record(store)
    if record.default is None:
        write_record(store, msgspec.structs.replace(record, default=version))


def restore(store: Path, record: Record, version: str) -> None:
    """Let *version* come back after a restart again, as *record* said before."""
    stage(store / file_name(version), store)
    write_record(store, record)


def record_kept(store: Path, registered: Sequence[str]) -> None:
    """Remember which versions are registered beside the default."""
    record = read_record(store)
    kept = tuple(version for version in registered if version != record.default)
    write_record(store, msgspec.structs.replace(record, kept=kept))


def forget(store: Path) -> None:
    """Let the next start choose again: nothing was promoted."""
    (store / RECORD_FILE).unlink(missing_ok=True)


def append_history(store: Path, line: dict[str, Any]) -> None:
    with (store / HISTORY_FILE).open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def hold_lock(store: Path, version: str) -> Iterator[None]:
    """Let no other process change versions meanwhile; raise `RecordError` with who does."""
    store.mkdir(parents=True, exist_ok=True)
    try:
        # Whoever only looks whether it is held lets go at once.
        with FileLock(store / LOCK_FILE, timeout=1):
            _note_underway(store, Underway(version, os.getpid(), now()))
            try:
                yield
            finally:
                _note_underway(store, None)
    except Timeout as error:
        held = read_record(store).underway
        who = f"to {held.version}, process {held.pid}, since {held.since}" if held else "it has just begun"
        raise RecordError(
            f"another change of versions is under way ({who}); wait for it, or stop it with Ctrl-C where it runs"
        ) from error


def describe_interrupted(store: Path) -> str | None:
    """Return a sentence about a rollout that runs, or that was killed half-done; None if there is neither."""
    if (left := read_record(store).underway) is None:
        return None
    try:
        with FileLock(store / LOCK_FILE, timeout=0):
            return (
                f"A rollout to {left.version} was killed half-done (process {left.pid}, since {left.since}); "
                f"it is not resumed: `make rollout VERSION={left.version}` begins anew"
            )
    except Timeout:
        return f"A rollout to {left.version} is under way (process {left.pid}, since {left.since})"


def forget_interrupted(store: Path) -> None:
    """Let the next start say nothing of a rollout that was killed."""
    _note_underway(store, None)


def _note_underway(store: Path, underway: Underway | None) -> None:
    record = read_record(store)
    # Only tells people who it is: no reason to refuse a way back on a full disk.
    with suppress(OSError):
        write_record(store, msgspec.structs.replace(record, underway=underway))


def _write_partial(store: Path, record: Record) -> Path:
    partial = store / f"{RECORD_FILE}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return partial


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
