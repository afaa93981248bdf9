"""What survives a restart and what happened: two files in the model store (docs/decisions/0010), and their lock.

`versions.json` says which version was promoted, which one it replaced, and which others are registered;
`rollouts.jsonl` has one line for each rollout. The archive that TorchServe loads at its start is `fruity.mar`.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout
from rich.console import Console
from rich.markup import escape

from handler.spec import INVALID_JSON
from model_archive.identity import file_name
from serving.model_store import stage

RECORD_FILE = "versions.json"
HISTORY_FILE = "rollouts.jsonl"
LOCK_FILE = "rollout.lock"


class RolloutError(Exception):
    """A change of versions is refused; the server goes on as before."""


class Underway(msgspec.Struct, frozen=True):
    """The process that holds the lock; left behind by one that was killed."""

    version: str
    pid: int
    since: str


class Record(msgspec.Struct, frozen=True):
    default: str | None = None
    since: str | None = None  # when the default was promoted, ISO 8601
    previous: str | None = None
    earlier: tuple[str, ...] = ()  # served before `previous`, the newest last
    kept: tuple[str, ...] = ()  # registered beside the default
    underway: Underway | None = None

    def rollback_target(self, default: str) -> str | None:
        """Return the version that *default*, which serves, replaced."""
        # After a crash between the promotion and the record, the recorded default is the version before.
        return self.previous if self.default == default else self.default

    def list_before(self, version: str, old: str, *, is_rollback: bool) -> list[str]:
        """Return what will have served before *version*, which replaces *old*, the newest last.

        A rollback forgets the versions that it undoes, so that the next one does not bring them back.
        """
        known = [one for one in (*self.earlier, self.previous, self.default) if one]
        if is_rollback and version in known:
            return known[: known.index(version)]
        return [*(one for one in known if one not in (version, old)), old]


def read_record(store: Path) -> Record:
    """Return the record of *store*, an empty one if nothing was ever promoted there; raise `RolloutError`."""
    path = store / RECORD_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except INVALID_JSON as error:
        raise RolloutError(f"{path} cannot be read ({error}); delete it, then promote a version again") from error


def write_record(store: Path, record: Record) -> None:
    """Write *record* in one atomic step."""
    _write_partial(store, record).replace(store / RECORD_FILE)


def update_record(store: Path, **changes: Any) -> None:
    write_record(store, msgspec.structs.replace(read_record(store), **changes))


def record_default(store: Path, version: str, old: str, *, is_rollback: bool = False) -> None:
    """Make *version*, which replaces *old*, the one that is served after a restart; its archive must be in *store*."""
    record = read_record(store)
    before = record.list_before(version, old, is_rollback=is_rollback)
    previous, earlier = (before[-1], tuple(before[:-1])) if before else (None, ())
    record = msgspec.structs.replace(record, default=version, since=_now(), previous=previous, earlier=earlier)
    # First, because on a full disk this fails, and then the archive that TorchServe loads must not have changed.
    partial = _write_partial(store, record)
    stage(store / file_name(version), store)
    partial.replace(store / RECORD_FILE)


def record_underway(store: Path, underway: Underway | None) -> None:
    # It only informs people: a full disk must not prevent a rollback.
    with suppress(OSError):
        update_record(store, underway=underway)


class Journal:
    """Shows the steps of one rollout on the terminal, and writes them as one line of the history."""

    def __init__(self, store: Path, verb: str, version: str) -> None:
        self.failed_step = ""  # the first one that failed, for the start of a sentence
        self.line: dict[str, Any] = {"time": _now(), "verb": verb, "from": None, "to": version, "steps": []}
        self._path = store / HISTORY_FILE
        self._console = Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[dict[str, Any]]:
        """Show *doing* while the block runs; then its seconds and the figures that it put into the dict."""
        figures: dict[str, Any] = {}
        started = time.monotonic()
        mark = "[red]✗[/]"
        try:
            with self._console.status(escape(f"{name}: {doing} …")):
                yield figures
            mark = "[green]✓[/]"
        except BaseException:
            self.failed_step = self.failed_step or f"step {name}: "
            raise
        finally:
            seconds = time.monotonic() - started
            self.line["steps"].append({"step": name, "seconds": round(seconds, 3), **figures})
            text = ", ".join(f"{key} {value}" for key, value in figures.items())
            self._console.print(f"{mark} {name:10} {seconds:6.1f} s  {escape(text or doing)}")

    def note(self, text: str) -> None:
        self.line.setdefault("notes", []).append(text)
        self._console.print(f"  {text}", markup=False)

    def close(self, outcome: str, reason: str | None = None) -> None:
        """Append the line to the history; a full disk does not make the rollout a failure."""
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode({**self.line, "outcome": outcome, "reason": reason}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.note(f"not recorded: {error}")


@contextmanager
def hold_lock(store: Path, version: str) -> Iterator[None]:
    """Keep other processes from changing versions inside the block; raise `RolloutError` if one does already."""
    store.mkdir(parents=True, exist_ok=True)
    try:
        # `describe_interrupted` holds the lock for a moment.
        with FileLock(store / LOCK_FILE, timeout=1):
            record_underway(store, Underway(version, os.getpid(), _now()))
            try:
                yield
            finally:
                record_underway(store, None)
    except Timeout as error:
        held = read_record(store).underway
        holder = f"to {held.version}, process {held.pid}, since {held.since}" if held else "just started"
        raise RolloutError(
            f"another change of versions is under way ({holder}); wait for it, or stop it with Ctrl-C where it runs"
        ) from error


def describe_interrupted(store: Path) -> str | None:
    """Return a sentence about a rollout that is running or was killed; None if there is neither."""
    if (left := read_record(store).underway) is None:
        return None
    process = f"(process {left.pid}, since {left.since})"
    try:
        with FileLock(store / LOCK_FILE, timeout=0):
            return (
                f"A rollout to {left.version} was killed before its end {process} and is not resumed; "
                f"`make rollout VERSION={left.version}` starts again"
            )
    except Timeout:
        return f"A rollout to {left.version} is under way {process}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_partial(store: Path, record: Record) -> Path:
    partial = store / f"{RECORD_FILE}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return partial
