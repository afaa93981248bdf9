"""One version replaced by another without losing a request: the steps in order, each beside what undoes it.

What fails on the way, and Ctrl-C, undoes the steps in reverse order: the old version serves as before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from model_archive.archive_registry import RegistryError
from model_archive.identity import ArchiveError, check_version, file_name, version_order
from model_archive.signature import SignatureError
from serving.management import ManagementError, Server, UnknownVersion
from serving.model_store import (
    Archive,
    ModelStoreError,
    Source,
    find_stored,
    put_into_store,
    read_archive,
    resolve_archive,
)
from serving.rollout.comparison import check_golden, compare_golden, compare_shadow, warm
from serving.rollout.record import (
    Journal,
    RolloutError,
    hold_lock,
    read_record,
    record_default,
    record_kept,
    record_serving,
    restore,
)
from serving.rollout.thresholds import Thresholds
from serving.rollout.traffic import drain, read_traffic, send_canary, watch

# Each says in one sentence what is wrong.
FAILURES = (ManagementError, ModelStoreError, ArchiveError, RegistryError, SignatureError, RolloutError, OSError)

_POLL_S = 0.5
# Registering returns when the workers have loaded; one that has just died is restarted.
_READY_S = 10


@dataclass(frozen=True)
class Options:
    version: str
    source: Source
    shadow: Path | None = None
    """Folder of recent photos to send to both versions."""
    proxy: Path | None = None
    """Run folder of the reverse proxy that sends a share of live traffic to the new version first."""
    keep: bool = False
    """Leave the old version registered, with its workers."""
    allow_lower: bool = False


def roll_out(server: Server, options: Options, thresholds: Thresholds, console: Console) -> None:
    """Replace the version that serves by the one of *options*; raise `RolloutError` once everything is undone."""
    with _start("rollout", server, options.version, console, options.allow_lower) as rollout:
        journal = rollout.journal
        new = rollout.fetch(options.source)
        old = rollout.store(new)
        before = read_traffic(server.metrics, old.version)
        rollout.register()
        photos = warm(server, journal, old, new)
        check_golden(server, journal, new)
        compare_golden(server, journal, old, new, photos, thresholds)
        if options.shadow:
            compare_shadow(server, journal, old, new, options.shadow, thresholds)
        if options.proxy and thresholds.canary_share:
            rollout.had_traffic = True
            send_canary(server, journal, old, new, options.proxy, thresholds)
        start = read_traffic(server.metrics, new.version)
        rollout.promote()
        watch(server, journal, new, before, start, thresholds)
        rollout.remember()
        # From here on the new version serves, whatever fails.
        rollout.undo.pop_all()
        rollout.retire(options.keep)


def roll_back(server: Server, version: str | None, keep: bool, console: Console) -> None:
    """Go back to *version*, by default the one that was replaced last, without comparison and watch."""
    if version is None:
        default = server.management.describe().model_version
        version = read_record(server.store).rollback_target(default)
        if version is None:
            raise RolloutError(f"nothing was served before {default}; name a version: make rollback VERSION=1.0.0")
    with _start("rollback", server, version, console, allow_lower=True) as rollout:
        stored = find_stored(server.store, version)
        new = rollout.fetch(Source(archive=stored.path if stored else None))
        rollout.store(new)
        rollout.register()
        check_golden(server, rollout.journal, new)
        rollout.promote()
        rollout.remember()
        rollout.undo.pop_all()
        rollout.retire(keep)


@contextmanager
def _start(verb: str, server: Server, version: str, console: Console, allow_lower: bool) -> Iterator["_Rollout"]:
    """Hold the lock inside the block and record how it ends; a failure undoes what was done and names its step."""
    check_version(version)
    with hold_lock(server.store, version):
        journal = Journal(server.store, console, verb, version)
        try:
            with journal.step("begin", "asking which version serves") as figures:
                old = figures["serving"] = server.management.describe().model_version
                journal.set_previous(old)
                _check_order(old, version, allow_lower)
            record_serving(server.store, old)
            with ExitStack() as undo:
                yield _Rollout(server, old, version, journal, undo)
        except BaseException as error:
            reason = str(error) or "stopped by Ctrl-C"
            journal.close("failed", reason)
            if isinstance(error, (*FAILURES, KeyboardInterrupt)):
                step = f"step {journal.failed_step}: " if journal.failed_step else ""
                raise RolloutError(f"{step}{reason}. {_describe(server)}") from error
            raise
        journal.close("done")
    console.print(f"{verb}: {version} serves")


@dataclass
class _Rollout:
    """The steps; each adds what undoes it before it changes anything."""

    server: Server
    old: str
    new: str
    journal: Journal
    undo: ExitStack
    had_traffic: bool = False
    """Whether clients may have requests at the new version."""

    def fetch(self, source: Source) -> Archive:
        with self.journal.step("fetch", "finding and checking the archive") as figures:
            archive = read_archive(resolve_archive(self.new, self.server.store, source), self.new)
            figures["sha256"] = archive.digest[:12]
        return archive

    def store(self, new: Archive) -> Archive:
        """Return the archive of the old version, which must be in the model store as well."""
        store = self.server.store
        with self.journal.step("store", "copying it into the model store"):
            old = find_stored(store, self.old)
            if old is None:
                raise ArchiveError(
                    f"the archive of {self.old}, which serves, is not in the model store {store}; without it there is "
                    "no rollback, so put it there first"
                )
            put_into_store(old, store)
            if put_into_store(new, store):
                self.undo.callback((store / file_name(self.new)).unlink, missing_ok=True)
        return old

    def register(self) -> None:
        with self.journal.step("register", "loading its workers beside the old ones"):
            if self.new not in self._registered():
                # Before, because TorchServe keeps a version whose workers do not start.
                self._undo_by(f"unregistering {self.new}", self._unregister_new)
                self.server.management.register(file_name(self.new))
            deadline = time.monotonic() + _READY_S
            while not (version := self.server.management.describe(self.new)).is_ready:
                if time.monotonic() > deadline:
                    ready = f"{version.ready_workers} of {version.min_workers}"
                    raise RolloutError(f"{ready} workers of {self.new} are READY")
                time.sleep(_POLL_S)

    def promote(self) -> None:
        with self.journal.step("promote", f"making {self.new} the default version"):
            self._undo_by(f"making {self.old} the default again", lambda: self.server.management.promote(self.old))
            self.had_traffic = True
            self.server.management.promote(self.new)

    def remember(self) -> None:
        store = self.server.store
        with self.journal.step("remember", f"{self.new} is served after a restart"):
            before = read_record(store)
            self._undo_by(f"{self.old} is served after a restart", lambda: restore(store, before, self.old))
            record_default(store, self.new, previous=self.old)

    def retire(self, keep: bool) -> None:
        """Unregister the old version unless *keep*; a failure leaves it registered, and the new one serves."""
        try:
            if not keep:
                with self.journal.step("drain", f"waiting until {self.old} has no request left"):
                    drain(self.server, self.old)
                with self.journal.step("unregister", f"{self.old}; its archive stays for a rollback"):
                    self.server.management.unregister(self.old)
            record_kept(self.server.store, self._registered())
        except (ManagementError, RolloutError, OSError, KeyboardInterrupt) as error:
            reason = str(error) or "stopped by Ctrl-C"
            self.journal.note(f"{self.new} serves; {self.old} is still registered beside it: {reason}")

    def _registered(self) -> list[str]:
        return [version.model_version for version in self.server.management.list_versions()]

    def _unregister_new(self) -> None:
        if self.had_traffic:
            drain(self.server, self.new)
        with suppress(UnknownVersion):
            self.server.management.unregister(self.new)

    def _undo_by(self, doing: str, act: Callable[[], None]) -> None:
        """Let a later failure run *act*, as a step of its own."""

        def undo() -> None:
            try:
                with self.journal.step("undo", doing):
                    act()
            except (ManagementError, RolloutError, OSError) as error:
                self.journal.note(f"not undone: {error}")

        self.undo.callback(undo)


def _check_order(old: str, new: str, allow_lower: bool) -> None:
    if new == old:
        raise RolloutError(f"{new} serves already")
    if version_order(new) < version_order(check_version(old)) and not allow_lower:
        raise RolloutError(
            f"{new} is lower than {old}, which serves; `make rollback` goes back, ARGS=--allow-lower rolls out a lower "
            "version"
        )


def _describe(server: Server) -> str:
    try:
        default = server.management.describe()
    except ManagementError:
        return "The server does not answer now; after a restart it serves what was promoted last"
    return f"Version {default.model_version} serves, with {default.ready_workers} workers READY"
