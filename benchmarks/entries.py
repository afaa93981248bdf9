"""The rows of a run: who is measured on which archives, and one round of one: start, check, load, measure, stop."""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from benchmarks.bench_results import CEILING, DEFAULT, ScenarioResult, Trial
from benchmarks.contenders import CONTENDERS, EAGER_CEILING, FASTAPI, FRUITY, Contender, Place, start
from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import ask_once, run_closed, run_open
from benchmarks.measurement import BenchError, choose
from benchmarks.peers.same_engine import SameEngine
from benchmarks.scenarios import CAPACITY, MIDDLE, MIX, PHONE_CLIENT, WARM_UP_CLIENTS, Plan, Scenario, make_photos
from benchmarks.server_process import ServerError, ServerProcess, on_cores, run_server
from handler.engine import EngineError
from handler.spec import SpecError, read_spec
from serving.model_store import CONFIG_NAME, DEFAULT_ARCHIVE, ROOT, edit_archive

START_S = 180.0
# What a slow server's queue takes; servers whose daemons are never idle take all of it.
_DRAIN_S = 5.0


@dataclass(frozen=True)
class Entry:
    """A row of the table: a contender on an archive and some cores."""

    contender: Contender
    place: Place
    cores: int
    scenarios: tuple[Scenario, ...] = ()

    def measure(self, number: int, plan: Plan) -> Trial:
        """Return what round *number* measured; a server that fails is a result, too."""
        name, way, archive = self.contender.name, self.contender.way, self.place.name
        known: dict[str, Any] = {"name": name, "way": way, "archive": archive, "cores": self.cores, "round": number}
        with on_cores(self.cores), tempfile.TemporaryDirectory(prefix="fruity-bench-") as scratch:
            try:
                if self.contender.way == CEILING:
                    return Trial(**known, results=list(self._measure_ceiling(plan, Path(scratch))))
                with start(self.contender, self.place, Path(scratch)) as (server, endpoint):
                    start_s = server.wait_for_answer(endpoint, self.place.photos[MIDDLE][0], START_S)
                    results = list(self._measure_server(server, endpoint, plan))
                    return Trial(**known, start_s=start_s, results=results, pss_mb=server.pss_mb())
            except ServerError as error:
                return Trial(**known, failure=str(error))

    def _measure_server(self, server: ServerProcess, endpoint: Endpoint, plan: Plan) -> Iterator[ScenarioResult]:
        every = [photo for photos in self.place.photos.values() for photo in photos]
        if wrong := {photo.name: error for photo in every if (error := ask_once(endpoint, photo))}:
            raise ServerError(f"it does not answer as the archive's engine does: {wrong}")
        warm_up = run_closed(endpoint, self.place.photos[MIDDLE], WARM_UP_CLIENTS, plan.warm_up_s)
        server.wait_until_idle(_DRAIN_S)
        fastest = {MIDDLE: warm_up.photos_per_s}
        for scenario in self.scenarios:
            photos, best = self.place.photos[scenario.photos], fastest.get(scenario.photos, 0.0)
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
        program = self.contender.command.format(bin=self.place.bench_bin).split()
        for scenario in (CAPACITY, PHONE_CLIENT):
            files = [scratch / f"{number}.jpg" for number in range(len(self.place.photos[scenario.photos]))]
            for file, photo in zip(files, self.place.photos[scenario.photos], strict=True):
                file.write_bytes(photo.body)
            command = [*program, "--seconds", str(plan.seconds), "--out", str(out), *map(str, files)]
            with run_server(command, self.place.folder, {"PYTHONPATH": path}) as process:
                process.wait_for_end(START_S)
            yield ScenarioResult(name=scenario.name, **msgspec.json.decode(out.read_bytes()))


def find_entries(archive: Path | None, only: str, plan: Plan, serve_venv: Path, scratch: Path) -> list[Entry]:
    """Return who is measured, on the default archive and *archive*, unpacked below *scratch*; raise `BenchError`."""
    if not (serve_venv / "bin" / "torchserve").exists():
        raise BenchError(f"{serve_venv} has no TorchServe; make bench installs it, or name another with --serve-venv")
    archives = {DEFAULT: DEFAULT_ARCHIVE} | ({archive.stem: archive} if archive else {})
    entries: list[Entry] = []
    for name, path in archives.items():
        entries += _list_entries(replace(unpack(path, scratch / name, serve_venv / "bin"), name=name), plan)
    kept = choose(entries, only, lambda entry: str(entry.contender))
    if any(entry.contender.way == "usual way" or entry.contender == EAGER_CEILING for entry in kept):
        place = kept[0].place
        command = [str(place.bench_bin / "python"), "-m", "benchmarks.peers.prepare", str(place.folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"the eager peers' weights could not be written: {done.stderr.strip()[-300:]}")
    return kept


def _list_entries(place: Place, plan: Plan) -> list[Entry]:
    """Return who is measured on an archive: all on the default one; on another fruity, FastAPI and the ceiling."""
    cores = len(os.sched_getaffinity(0))
    command = "{bin}/python -m benchmarks.ceiling --batch "
    ceilings = [Contender(f"no server, batch {batch}", CEILING, f"{command}{batch}") for batch in plan.batches]
    contenders = [*CONTENDERS, *ceilings, EAGER_CEILING] if place.name == DEFAULT else [FRUITY, FASTAPI, *ceilings]
    return [
        *(Entry(contender, place, cores, plan.scenarios) for contender in contenders),
        *(Entry(FRUITY, limit_workers(place, fewer), fewer, (CAPACITY,)) for fewer in range(1, cores)),
    ]


def unpack(archive: Path, folder: Path, serve_bin: Path) -> Place:
    """Return where the contenders of *archive* start, with photos that have its labels; raise `BenchError`."""
    try:
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        labels, engine = frozenset(read_spec(folder).labels), SameEngine(folder)
    except (FileNotFoundError, zipfile.BadZipFile, SpecError, EngineError) as error:
        raise BenchError(f"{archive} cannot be measured: {error}; make archive builds one") from error
    photos: dict[str, list[Photo]] = {
        size: [replace(photo, label=str(engine.classify([photo.body])[0]["label"])) for photo in same]
        for size, same in make_photos().items()
    }
    photos[MIX] = [photo for same in zip(*photos.values(), strict=True) for photo in same]
    return Place(folder, archive, Path(sys.executable).parent, serve_bin, labels, photos)


def limit_workers(place: Place, most: int) -> Place:
    """Return *place* with at most *most* workers in its archive, as a service with so many cores would set it."""
    config = yaml.safe_load((place.folder / CONFIG_NAME).read_text())
    config |= {name: min(int(config[name]), most) for name in ("minWorkers", "maxWorkers")}
    limited = place.folder / f"at-most-{most}-workers.mar"
    edit_archive(place.archive, limited, {CONFIG_NAME: lambda _: yaml.safe_dump(config).encode()})
    return replace(place, archive=limited)
