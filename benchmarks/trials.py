"""One contender in one round: start, check, warm up, load, measure, stop."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench_results import CEILING, DEFAULT, Row, ScenarioResult, Trial
from benchmarks.contenders import Contender, Place, start
from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import ask_once, run_closed, run_open
from benchmarks.sample_photos import MIDDLE
from benchmarks.scenarios import CAPACITY, PHONE_CLIENT, WARM_UP_CLIENTS, Plan, Scenario
from benchmarks.server_process import ServerError, ServerProcess
from benchmarks.wrk import WrkError
from serving.model_store import ROOT

START_S = 180.0
# What a slow server's queue takes; servers whose daemons are never idle take all of it.
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
    ceiling_options: tuple[str, ...] = ()
    """For benchmarks/ceiling.py, where there is no contender."""
    scenarios: tuple[Scenario, ...] = ()

    @property
    def row(self) -> Row:
        return Row(self.name, self.way, self.archive, self.cores)

    def measure(self, number: int, plan: Plan) -> Trial:
        """Return what round *number* measured; a server that fails is a result, too."""
        known: dict[str, Any] = {**self.row._asdict(), "round": number}
        with _on_cores(self.cores), tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
            try:
                if self.contender is None:
                    return Trial(**known, results=list(self._measure_ceiling(plan, Path(scratch))))
                with start(self.contender, self.place, Path(scratch)) as (server, endpoint):
                    start_s = server.wait_for_answer(endpoint, self.photos[MIDDLE][0], START_S)
                    results = list(self._measure_server(server, endpoint, plan))
                    return Trial(**known, start_s=start_s, results=results, pss_mb=server.pss_mb())
            except (ServerError, WrkError) as error:
                return Trial(**known, failure=str(error))

    def _measure_server(self, server: ServerProcess, endpoint: Endpoint, plan: Plan) -> Iterator[ScenarioResult]:
        every = [photo for photos in self.photos.values() for photo in photos]
        if wrong := {photo.name: error for photo in every if (error := ask_once(endpoint, photo))}:
            raise ServerError(f"it does not answer as the archive's engine does: {wrong}")
        warm_up = run_closed(endpoint, self.photos[MIDDLE], WARM_UP_CLIENTS, plan.warm_up_s)
        server.wait_until_idle(_DRAIN_S)
        fastest = {MIDDLE: warm_up.photos_per_s}
        for scenario in self.scenarios:
            photos, best = self.photos[scenario.photos], fastest.get(scenario.photos, 0.0)
            cpu_s, seconds = server.cpu_s(), plan.seconds_for(scenario, best)
            if scenario.share:
                load = run_open(endpoint, photos, max(1.0, scenario.share * best), seconds)
            else:
                load = run_closed(endpoint, photos, scenario.clients, seconds)
                fastest[scenario.photos] = max(best, load.photos_per_s)
            yield ScenarioResult.of(scenario.name, load, server.cpu_s() - cpu_s)
            # Else the next load would pay for what this one left in the queue.
            server.wait_until_idle(_DRAIN_S)

    def _measure_ceiling(self, plan: Plan, scratch: Path) -> Iterator[ScenarioResult]:
        path, out = f"{self.place.folder}{os.pathsep}{ROOT}", scratch / "ceiling.json"
        program = [f"{self.place.bench_bin}/python", "-m", "benchmarks.ceiling", *self.ceiling_options]
        for scenario in (CAPACITY, PHONE_CLIENT):
            files = [scratch / f"{number}.jpg" for number in range(len(self.photos[scenario.photos]))]
            for file, photo in zip(files, self.photos[scenario.photos], strict=True):
                file.write_bytes(photo.body)
            command = [*program, "--seconds", str(plan.seconds), "--out", str(out), *map(str, files)]
            with ServerProcess(command, self.place.folder, {"PYTHONPATH": path}) as process:
                process.wait_for_end(START_S)
            yield ScenarioResult(name=scenario.name, tool=CEILING, **msgspec.json.decode(out.read_bytes()))


@contextmanager
def _on_cores(count: int) -> Iterator[None]:
    """Let this process, its servers and its load run on the first *count* cores until the block ends."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
