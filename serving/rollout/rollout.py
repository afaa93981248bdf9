"""The way of a new version, step by step; whatever fails on it is undone in reverse order."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_archive.identity import ArchiveError, check_version, file_name, version_order
from serving.management import ManagementError, Server, UnknownVersion
from serving.rollout.archive import Archive, find_stored, put_into_store, read_archive
from serving.rollout.canary import send_share
from serving.rollout.comparison import Comparison, ask, compare, real_photos, recent_photos, wrong_golden
from serving.rollout.drain import drain
from serving.rollout.journal import Journal
from serving.rollout.judge import (
    RolloutError,
    Thresholds,
    check,
    judge_canary,
    judge_golden,
    judge_labels,
    judge_shadow,
    judge_traffic,
)
from serving.rollout.record import read_record, record_default, record_kept, remember_serving, restore
from serving.rollout.traffic import Traffic, read_traffic

_POLL_S = 0.5
# Registering returns when the workers have loaded; one that just died is started again.
_READY_S = 10
# Each golden picture is asked that often: one time alone is noise.
_ROUNDS = 3
_MAX_SHOWN = 8


@dataclass(frozen=True)
class Options:
    version: str
    keep: bool = False
    """Leave the old version registered, with its workers."""
    allow_lower: bool = False
    shadow: Path | None = None
    """Folder of recent photos to ask both versions."""
    front: Path | None = None
    """Run folder of the front that gives the new version a share of live traffic first."""


class Rollout:
    """From the default version to another."""

    def __init__(self, server: Server, options: Options, journal: Journal) -> None:
        self._server, self._options, self._journal = server, options, journal
        self._management, self._new = server.management, options.version
        self._had_traffic = False
        with journal.step("begin", "asking which version serves") as figures:
            self._old = figures["serving"] = self._management.describe().model_version
        journal.leave(self._old)
        remember_serving(server.store, self._old)

    def run(self, fetch: Callable[[Path], Path], thresholds: Thresholds) -> None:
        """Do all of it with the archive that *fetch* brings, given the model store; raises once all is undone."""
        with ExitStack() as undo:
            old, new = self._store(fetch, undo)
            before = read_traffic(self._server.metrics, self._old)
            self._register(undo)
            real = self._warm(old, new)
            self._check_golden(new)
            self._compare_golden(old, new, real, thresholds)
            if self._options.shadow:
                self._compare_shadow(self._options.shadow, thresholds)
            if self._options.front and thresholds.canary_share:
                self._canary(self._options.front, thresholds)
            start = read_traffic(self._server.metrics, self._new)
            self._promote(undo)
            self._watch(before, start, thresholds)
            self._remember(undo)
            undo.pop_all()
        self._retire()

    def return_to(self, fetch: Callable[[Path], Path]) -> None:
        """Do what a way back needs: no comparison with the version that is left, and no watch."""
        with ExitStack() as undo:
            _, new = self._store(fetch, undo)
            self._register(undo)
            self._check_golden(new)
            self._promote(undo)
            self._remember(undo)
            undo.pop_all()
        self._retire()

    def _store(self, fetch: Callable[[Path], Path], undo: ExitStack) -> tuple[Archive, Archive]:
        """Return the archives of both versions, each in the model store under its own name."""
        store = self._server.store
        with self._journal.step("fetch", "looking for the archive and into it") as figures:
            self._check_number()
            new = read_archive(fetch(store), self._new)
            figures["sha256"] = new.digest[:12]
        with self._journal.step("store", "copying it into the model store"):
            old = find_stored(store, self._old)
            if old is None:
                raise ArchiveError(
                    f"the archive of {self._old}, which serves, is no longer in the model store {store}; without it "
                    "there is no way back, so put it there first"
                )
            put_into_store(old, store)
            if put_into_store(new, store):
                undo.callback((store / file_name(self._new)).unlink, missing_ok=True)
        return old, new

    def _check_number(self) -> None:
        if self._new == self._old:
            raise RolloutError(f"{self._new} serves already")
        if version_order(self._new) < version_order(check_version(self._old)) and not self._options.allow_lower:
            raise RolloutError(
                f"{self._new} is lower than {self._old}, which serves; `make rollback` goes back, --allow-lower rolls "
                "out a lower version all the same"
            )

    def _register(self, undo: ExitStack) -> None:
        with self._journal.step("register", "loading its workers beside the old ones"):
            if self._new not in self._registered():
                # Before, because TorchServe keeps a version whose workers do not start.
                undo.callback(self._undo, f"unregistering {self._new}", self._drop_new)
                self._management.register(file_name(self._new))
            self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not (version := self._management.describe(self._new)).is_ready:
            if time.monotonic() > deadline:
                raise RolloutError(f"{version.ready_workers} of {version.min_workers} workers of {self._new} are READY")
            time.sleep(_POLL_S)

    def _warm(self, old: Archive, new: Archive) -> list[tuple[str, bytes]]:
        """Return photos of the sizes that clients send, once the new version has seen them all."""
        with self._journal.step("warm", "sending photos of real sizes") as figures:
            photos = real_photos([old.golden[0], new.golden[0]])
            for _, photo in photos:
                ask(self._server.inference, self._new, photo)
            figures["photos"] = len(photos)
        return photos

    def _check_golden(self, new: Archive) -> None:
        with self._journal.step("golden", "asking the new version for its own golden answers") as figures:
            if wrong := wrong_golden(self._server.inference, self._new, new.golden):
                raise RolloutError(f"{self._new} does not answer as the model that was built: {'; '.join(wrong)}")
            figures["right"] = len(new.golden)

    def _compare_golden(
        self, old: Archive, new: Archive, real: list[tuple[str, bytes]], thresholds: Thresholds
    ) -> None:
        with self._journal.step("compare", "asking both versions the golden pictures") as figures:
            figures |= check(judge_labels(old.spec.labels, new.spec.labels, thresholds))
            pictures = dict.fromkeys(photo.photo for photo in (*old.golden, *new.golden))
            golden = [(f"golden {number}", picture) for number, picture in enumerate(pictures, start=1)]
            comparison = self._compare([*golden * _ROUNDS, *real])
            figures |= check(judge_golden(comparison, thresholds))

    def _compare_shadow(self, folder: Path, thresholds: Thresholds) -> None:
        with self._journal.step("shadow", f"asking both versions the photos of {folder}") as figures:
            if not (photos := recent_photos(folder, thresholds.shadow_photos)):
                raise RolloutError(f"the folder {folder} holds no photos; name one that does, or leave SHADOW out")
            comparison = self._compare(photos)
            figures["photos"] = len(photos)
            figures |= check(judge_shadow(comparison, thresholds))

    def _compare(self, photos: list[tuple[str, bytes]]) -> Comparison:
        comparison = compare(self._server.inference, self._old, self._new, photos)
        differences = list(dict.fromkeys(str(pair) for pair in comparison.differences))
        for difference in differences[:_MAX_SHOWN]:
            self._journal.note(difference)
        if len(differences) > _MAX_SHOWN:
            self._journal.note(f"and {len(differences) - _MAX_SHOWN} more")
        return comparison

    def _canary(self, front: Path, thresholds: Thresholds) -> None:
        share, seconds = thresholds.canary_share, thresholds.canary_seconds
        with (
            self._journal.step("canary", f"{share:.0%} of live traffic for {seconds:g} s") as figures,
            send_share(front, self._new, share, seconds),
        ):
            self._had_traffic = True
            starts = [read_traffic(self._server.metrics, version) for version in (self._old, self._new)]
            for _ in _looks(seconds):
                old, new = (
                    read_traffic(self._server.metrics, version) - start
                    for version, start in zip((self._old, self._new), starts, strict=True)
                )
                figures |= {"requests": round(new.by_number), "photos": round(new.photos)}
                figures |= check(judge_canary(old, new, thresholds))

    def _promote(self, undo: ExitStack) -> None:
        with self._journal.step("promote", f"letting {self._new} answer"):
            undo.callback(self._undo, f"letting {self._old} answer again", self._promote_old)
            self._had_traffic = True
            self._management.promote(self._new)

    def _watch(self, before: Traffic, start: Traffic, thresholds: Thresholds) -> None:
        with self._journal.step("watch", f"{thresholds.watch_seconds:g} s of live traffic") as figures:
            for _ in _looks(thresholds.watch_seconds):
                since = read_traffic(self._server.metrics, self._new) - start
                figures |= {"requests": round(since.requests), "photos": round(since.photos)}
                figures |= check(judge_traffic(before, since, thresholds))
                self._check_alive()

    def _check_alive(self) -> None:
        default = self._management.describe()
        if default.model_version != self._new:
            raise RolloutError(f"meanwhile somebody else let {default.model_version} answer")
        if not default.is_ready:
            raise RolloutError(f"only {default.ready_workers} of {default.min_workers} workers are READY, others died")

    def _remember(self, undo: ExitStack) -> None:
        with self._journal.step("remember", f"{self._new} comes back after a restart"):
            before = read_record(self._server.store)
            undo.callback(
                self._undo,
                f"{self._old} comes back after a restart",
                partial(restore, self._server.store, before, self._old),
            )
            record_default(self._server.store, self._new, previous=self._old)

    def _retire(self) -> None:
        """Unregister the old version once it is empty; the new one serves, whatever comes of it."""
        try:
            if not self._options.keep:
                with self._journal.step("drain", f"waiting until {self._old} has no request left"):
                    drain(self._server, self._old)
                with self._journal.step("unregister", f"{self._old}; its archive stays as the way back"):
                    self._management.unregister(self._old)
            record_kept(self._server.store, self._registered())
        except (ManagementError, RolloutError, OSError, KeyboardInterrupt) as error:
            why = str(error) or "stopped by Ctrl-C"
            self._journal.note(f"{self._new} serves; {self._old} is still registered beside it: {why}")

    def _registered(self) -> list[str]:
        return [version.model_version for version in self._management.list_versions()]

    def _promote_old(self) -> None:
        self._management.promote(self._old)

    def _drop_new(self) -> None:
        if self._had_traffic:
            drain(self._server, self._new)
        with suppress(UnknownVersion):
            self._management.unregister(self._new)

    def _undo(self, doing: str, act: Callable[[], None]) -> None:
        try:
            with self._journal.step("undo", doing):
                act()
        except (ManagementError, RolloutError, OSError) as error:
            self._journal.note(f"not undone: {error}")


def _looks(seconds: float) -> Iterator[None]:
    """Let the caller look at an interval for *seconds*, the last time at their end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(_POLL_S)
    yield
