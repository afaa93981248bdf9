"""One version replaced by another without losing a request: the steps in order, each beside what undoes it.

What fails on the way, and Ctrl-C, undoes the steps in reverse order: the old version serves as before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from model_archive.archive_registry import RegistryError
from model_archive.identity import ArchiveError, check_version, file_name, version_order
from model_archive.signature import SignatureError
from serving import model_store
from serving.management import ManagementError, Server, UnknownVersion
from serving.model_store import Archive, ModelStoreError, Source, find_stored, put_into_store
from serving.rollout import traffic
from serving.rollout.comparison import check_golden, compare_golden, compare_shadow, warm
from serving.rollout.label_change import LabelMap, VersionChange, check_labels
from serving.rollout.record import Journal, RolloutError, hold_lock, read_record, record_default, write_record
from serving.rollout.registered import load_version, record_registered, record_serving
from serving.rollout.thresholds import Thresholds

# Each says in one sentence what is wrong.
FAILURES = (ManagementError, ModelStoreError, ArchiveError, RegistryError, SignatureError, RolloutError, OSError)

_POLL_S = 0.5
_READY_S = 10  # registering returns when the workers have loaded; one that has just died is restarted


def roll_out(
    server: Server,
    version: str,
    source: Source,
    thresholds: Thresholds,
    *,
    label_map: LabelMap | None = None,
    shadow: Path | None = None,
    proxy: Path | None = None,
    keep: bool = False,
    allow_lower: bool = False,
) -> None:
    """Replace the version that serves by *version*; raise `RolloutError` once everything is undone.

    *label_map* names labels of one meaning that are spelled differently. *shadow* is a folder of recent photos to send
    to both versions, *proxy* the run folder of the reverse proxy, if any. With *keep* the old one stays registered.
    """
    with _start("rollout", server, version, allow_lower) as rollout:
        journal = rollout.journal
        new = rollout.fetch(source)
        old = rollout.store(new)
        labels = check_labels(journal, old, new, thresholds, label_map or {})
        change = VersionChange(server, journal, old, new, labels, thresholds)
        before = traffic.read_traffic(server.metrics, old.version)
        rollout.register()
        traffic.wait_for_queue(change)
        photos = warm(change)
        check_golden(server, journal, new)
        compare_golden(change, photos)
        if shadow:
            compare_shadow(change, shadow)
        change = change._replace(thresholds=labels.adapt(thresholds))
        if proxy and thresholds.canary_share:
            rollout.had_traffic = True
            traffic.send_canary(change, proxy)
        start = traffic.read_traffic(server.metrics, new.version)
        rollout.promote()
        traffic.watch(change, before, start)
        rollout.remember()
        rollout.retire(keep)


def roll_back(server: Server, version: str | None, keep: bool) -> None:
    """Go back to *version*, by default the one that was replaced last, without comparison and watch."""
    if version is None:
        default = server.management.describe().model_version
        version = read_record(server.store).rollback_target(default)
        if version is None:
            raise RolloutError(
                f"nothing was served before {default}; `make rollback VERSION=…` goes to a version of `make versions`"
            )
    with _start("rollback", server, version, allow_lower=True) as rollout:
        stored = find_stored(server.store, version)
        new = rollout.fetch(Source(archive=stored.path if stored else None))
        rollout.store(new)
        rollout.register()
        check_golden(server, rollout.journal, new)
        rollout.promote()
        rollout.remember(is_rollback=True)
        rollout.retire(keep)


@contextmanager
def _start(verb: str, server: Server, version: str, allow_lower: bool) -> Iterator["_Rollout"]:
    """Hold the lock until `retire` and record how the block ends; a failure undoes what was done and names its step."""
    check_version(version)
    with ExitStack() as lock:
        lock.enter_context(hold_lock(server.store, version))
        journal = Journal(server.store, verb, version)
        try:
            with journal.step("begin", "asking which version serves") as figures:
                old = server.management.describe().model_version
                figures["serving"] = journal.line["from"] = old
                _check_order(old, version, allow_lower)
            record_serving(server.store, old)
            with ExitStack() as undo:
                yield _Rollout(server, old, version, journal, undo, lock)
        except BaseException as error:
            reason = str(error) or "stopped by Ctrl-C"
            journal.close("failed", reason)
            if isinstance(error, (*FAILURES, KeyboardInterrupt)):
                raise RolloutError(f"{journal.failed_step}{reason}. {_describe(server)}") from error
            raise
        journal.close("done")
    print(f"{verb}: {version} serves")  # noqa: T201  # the last line of the steps


@dataclass
class _Rollout:
    """The steps; each adds what undoes it before it changes anything."""

    server: Server
    old: str
    new: str
    journal: Journal
    undo: ExitStack
    lock: ExitStack
    had_traffic: bool = False  # clients may have requests at the new version

    def fetch(self, source: Source) -> Archive:
        with self.journal.step("fetch", "finding and checking the archive") as figures:
            path = model_store.resolve_archive(self.new, self.server.store, source)
            archive = model_store.read_archive(path, self.new)
            figures["sha256"] = archive.digest[:12]
        return archive

    def store(self, new: Archive) -> Archive:
        """Return the archive of the old version, which must be in the model store as well."""
        store = self.server.store
        with self.journal.step("store", "copying it into the model store"):
            if (old := find_stored(store, self.old)) is None:
                raise ArchiveError(
                    f"the archive of {self.old}, which serves, is not in the model store {store}; without it there is "
                    "no rollback, so put it there first"
                )
            put_into_store(old, store)
            if put_into_store(new, store):
                self.undo.callback((store / file_name(self.new)).unlink, missing_ok=True)
        return old

    def register(self) -> None:
        management = self.server.management
        with self.journal.step("register", "loading its workers beside the old ones"):
            if self.new not in [version.model_version for version in management.list_versions()]:
                # Before, because TorchServe keeps a version whose workers do not start.
                self._undo_by(f"unregistering {self.new}", self._unregister_new)
                load_version(self.server, self.new)
            deadline = time.monotonic() + _READY_S
            while not (version := management.describe(self.new)).is_ready:
                if time.monotonic() > deadline:
                    ready = f"{version.ready_workers} of {version.min_workers}"
                    raise RolloutError(f"{ready} workers of {self.new} are READY")
                time.sleep(_POLL_S)

    def promote(self) -> None:
        with self.journal.step("promote", f"making {self.new} the default version"):
            self._undo_by(f"making {self.old} the default again", lambda: self.server.management.promote(self.old))
            self.had_traffic = True
            self.server.management.promote(self.new)

    def remember(self, *, is_rollback: bool = False) -> None:
        store = self.server.store
        before = read_record(store)

        def restore() -> None:
            model_store.stage(store / file_name(self.old), store)
            write_record(store, before)

        with self.journal.step("remember", f"{self.new} is served after a restart"):
            self._undo_by(f"{self.old} is served after a restart", restore)
            record_default(store, self.new, self.old, is_rollback=is_rollback)
        # From here on the new version serves, even if a later step fails.
        self.undo.pop_all()

    def retire(self, keep: bool) -> None:
        """Unregister the old version unless *keep*; a failure leaves it registered, and the new one serves.

        Raises `RolloutError` if another process goes back to the old version meanwhile.
        """
        # So that a rollback works at once, which needs the old version's workers.
        self.lock.close()
        try:
            if not keep:
                with self.journal.step("drain", f"waiting until {self.old} has no request left"):
                    traffic.drain(self.server, self.old)
            with hold_lock(self.server.store, self.new):
                if not keep:
                    with self.journal.step("unregister", f"{self.old}; its archive stays for a rollback"):
                        traffic.check_not_default(self.server, self.old)
                        self.server.management.unregister(self.old)
                record_registered(self.server)
        except traffic.DefaultAgainError:
            raise
        except (ManagementError, RolloutError, OSError, KeyboardInterrupt) as error:
            reason = str(error) or "stopped by Ctrl-C"
            self.journal.note(f"{self.new} serves; {self.old} is still registered beside it: {reason}")

    def _unregister_new(self) -> None:
        if self.had_traffic:
            traffic.drain(self.server, self.new)
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
