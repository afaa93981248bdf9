"""One contender in one round: start, check, warm up, load, weigh, stop."""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import ask_once
from benchmarks.contenders import ROOT, Contender, Place, start
from benchmarks.load import run_closed, run_open
from benchmarks.photos import MIDDLE
from benchmarks.plan import CAPACITY, WARM_UP_CLIENTS, Loading, Plan
from benchmarks.results import CEILING, DEFAULT, Row, Scene, Visit
from benchmarks.server import Server, ServerError
from benchmarks.wire import Photo, Target
from benchmarks.wrk import WrkError

START_S = 180.0
# What a slow server's queue takes; daemons that are never idle take it as well.
_DRAIN_S = 5.0

Photos = Mapping[str, Sequence[Photo]]
"""By size, and the mix of all."""


@dataclass(frozen=True)
class Entry:
    """A row of the table: a contender, or the ceiling with a batch, on an archive and some cores."""

    name: str
    way: str
    place: Place
    photos: Photos
    cores: int
    archive: str = DEFAULT
    contender: Contender | None = None
    batch: int = 1
    loadings: tuple[Loading, ...] = ()

    @property
    def row(self) -> Row:
        return self.name, self.way, self.archive, self.cores

    def visit(self, number: int, plan: Plan) -> Visit:
        """Return what round *number* measured; a server that fails is a result, too."""
        known: dict[str, Any] = dict(zip(("name", "way", "archive", "cores"), self.row, strict=True), round=number)
        with _on_cores(self.cores), tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
            try:
                if self.contender is None:
                    return Visit(**known, scenes=[self._measure_ceiling(plan, Path(scratch))])
                with start(self.contender, self.place, Path(scratch)) as (server, target):
                    start_s = server.wait_for_answer(target, self.photos[MIDDLE][0], START_S)
                    scenes = list(self._measure(server, target, plan))
                    return Visit(**known, start_s=start_s, scenes=scenes, pss_mb=server.pss_mb())
            except (ServerError, WrkError) as error:
                return Visit(**known, failure=str(error))

    def _measure(self, server: Server, target: Target, plan: Plan) -> Iterator[Scene]:
        every = [photo for photos in self.photos.values() for photo in photos]
        if wrong := {photo.name: error for photo in every if (error := asyncio.run(ask_once(target, photo)))}:
            raise ServerError(f"it does not answer as the archive's engine does: {wrong}")
        warm_up = run_closed(target, self.photos[MIDDLE], WARM_UP_CLIENTS, plan.warm_up_s)
        server.wait_until_idle(_DRAIN_S)
        fastest = {MIDDLE: warm_up.photos_per_s}
        for loading in self.loadings:
            photos, best = self.photos[loading.photos], fastest.get(loading.photos, 0.0)
            cpu_s = server.cpu_s()
            seconds = plan.seconds_for(loading, best)
            if loading.share:
                load = run_open(target, photos, max(1.0, loading.share * best), seconds)
            else:
                load = run_closed(target, photos, loading.clients, seconds)
                fastest[loading.photos] = max(best, load.photos_per_s)
            yield Scene.of(loading.name, load, server.cpu_s() - cpu_s)
            # What the last load left behind would be paid for by the next.
            server.wait_until_idle(_DRAIN_S)

    def _measure_ceiling(self, plan: Plan, scratch: Path) -> Scene:
        paths = []
        for number, photo in enumerate(self.photos[MIDDLE]):
            paths.append(str(scratch / f"{number}.jpg"))
            Path(paths[-1]).write_bytes(photo.body)
        options = ["--batch", str(self.batch), "--seconds", str(plan.seconds)]
        command = [str(self.place.bench_bin / "python"), "-m", "benchmarks.ceiling", *options, *paths]
        path = os.pathsep.join([str(self.place.folder), str(ROOT)])
        with Server(command, self.place.folder, {"PYTHONPATH": path}) as process:
            measured = json.loads(process.wait_for_end(START_S).splitlines()[-1])
        return Scene(name=CAPACITY.name, tool=CEILING, **measured)


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Let this process, its servers and its load run on the first *count* cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
