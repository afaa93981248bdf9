"""What survives a restart and what happened: two files in the model store (docs/decisions/0010), and their lock.

`versions.json` says which version was promoted, which one it replaced, and which others are registered;
`rollouts.jsonl` has one line for each rollout. The archive that TorchServe loads at its start is `fruity.mar`.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from filelock import FileLock, Timeout

from model_archive.identity import file_name
from serving.model_store import stage

if TYPE_CHECKING:
    # `make serve` reads the record, and installs no rich.
    from rich.console import Console

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
    since: str | None = None
    """When the default was promoted, ISO 8601."""
    previous: str | None = None
    kept: tuple[str, ...] = ()
    """Registered beside the default."""
    underway: Underway | None = None

    def rollback_target(self, default: str) -> str | None:
        """Return the version that *default*, which serves, replaced."""
        # After a crash between the promotion and the record, the recorded default is the version before.
        return self.previous if self.default == default else self.default


def read_record(store: Path) -> Record:
    """Return the record of *store*, an empty one if nothing was ever promoted there; raise `RolloutError`."""
    path = store / RECORD_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return Record()
    except msgspec.DecodeError as error:
        raise RolloutError(f"{path} cannot be read ({error}); delete it, then promote a version again") from error


def write_record(store: Path, record: Record) -> None:
    """Write *record* in one atomic step."""
    _write_partial(store, record).replace(store / RECORD_FILE)


def record_default(store: Path, version: str, previous: str | None) -> None:
    """Make *version* the one that is served after a restart; its archive must be in *store*."""
    record = msgspec.structs.replace(read_record(store), default=version, since=now(), previous=previous)
    # First, because on a full disk this fails, and then the archive that TorchServe loads must not have changed.
    partial = _write_partial(store, record)
    stage(store / file_name(version), store)
    partial.replace(store / RECORD_FILE)


def restore(store: Path, record: Record, version: str) -> None:
    """Make *version* the one that is served after a restart again, as *record* said before."""
    stage(store / file_name(version), store)
    write_record(store, record)


def record_serving(store: Path, version: str) -> None:
    """Record *version*, which serves, as the default if no default is recorded yet.

    From the first change on, the record decides what a restart serves: the newest archive may be the one that failed.
    """
    record = read_record(store)
    if record.default is None:
        write_record(store, msgspec.structs.replace(record, default=version))


def record_kept(store: Path, registered: Sequence[str]) -> None:
    """Record which of the *registered* versions are beside the default."""
    record = read_record(store)
    kept = tuple(version for version in registered if version != record.default)
    write_record(store, msgspec.structs.replace(record, kept=kept))


def delete_record(store: Path) -> None:
    """Delete the record: the next start serves the newest archive again."""
    (store / RECORD_FILE).unlink(missing_ok=True)


class Journal:
    """Shows the steps of one rollout on the terminal, and writes them as one line of the history."""

    def __init__(self, store: Path, console: "Console", verb: str, version: str) -> None:
        self.failed_step: str | None = None
        """The first one that failed."""
        self._console = console
        self._path = store / HISTORY_FILE
        self._line: dict[str, Any] = {"time": now(), "verb": verb, "from": None, "to": version, "steps": []}

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[dict[str, Any]]:
        """Show *doing* while the block runs; then its seconds and the figures that it put into the dict."""
        figures: dict[str, Any] = {}
        started = time.monotonic()
        mark = "[red]✗[/]"
        try:
            with self._console.status(f"{name}: {doing} …"):
                yield figures
            mark = "[green]✓[/]"
        except BaseException:
            self.failed_step = self.failed_step or name
            raise
        finally:
            seconds = time.monotonic() - started
            self._line["steps"].append({"step": name, "seconds": round(seconds, 3), **figures})
            text = ", ".join(f"{key} {value}" for key, value in figures.items())
            self._print(f"{mark} {name:10} {seconds:6.1f} s  {text or doing}")

    def set_previous(self, version: str) -> None:
        """Record which version served before."""
        self._line["from"] = version

    def note(self, text: str) -> None:
        self._line.setdefault("notes", []).append(text)
        self._print(f"  {text}")

    def close(self, outcome: str, reason: str | None = None) -> None:
        """Append the line to the history; a full disk does not make the rollout a failure."""
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode({**self._line, "outcome": outcome, "reason": reason}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.note(f"not recorded: {error}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def hold_lock(store: Path, version: str) -> Iterator[None]:
    """Keep other processes from changing versions inside the block; raise `RolloutError` if one does already."""
    store.mkdir(parents=True, exist_ok=True)
    try:
        # `describe_interrupted` holds the lock for a moment.
        with FileLock(store / LOCK_FILE, timeout=1):
            _record_underway(store, Underway(version, os.getpid(), now()))
            try:
                yield
            finally:
                _record_underway(store, None)
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


def forget_interrupted(store: Path) -> None:
    """Let the next start say nothing of a rollout that was killed."""
    _record_underway(store, None)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _record_underway(store: Path, underway: Underway | None) -> None:
    record = read_record(store)
    # It only informs people: a full disk must not prevent a rollback.
    with suppress(OSError):
        write_record(store, msgspec.structs.replace(record, underway=underway))


def _write_partial(store: Path, record: Record) -> Path:
    partial = store / f"{RECORD_FILE}.partial"
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return partial
