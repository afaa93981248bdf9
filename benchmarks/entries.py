"""Who is measured, on which archives: rows for a run, from an unpacked archive and the photos that are sent."""

import dataclasses
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.contenders import CONTENDERS, ROOT, Place
from benchmarks.peers.same_engine import SameEngine
from benchmarks.photos import make_photos
from benchmarks.plan import CAPACITY, MIX, Plan
from benchmarks.results import CEILING, DEFAULT
from benchmarks.visits import Entry, Photos
from handler.spec import read_spec

_CONFIG_NAME = "model-config.yaml"
_STAGE_S = 30


class BenchError(Exception):
    """The run cannot start."""


def find_entries(archive: Path | None, only: str | None, plan: Plan, serve_venv: Path, scratch: Path) -> list[Entry]:
    """Return who is measured, on the default archive and on *archive*, unpacked below *scratch*.

    *only* keeps those whose name holds it. Raises `BenchError`, `SpecError` or `EngineError`.
    """
    if not (serve_venv / "bin" / "torchserve").exists():
        raise BenchError(f"{serve_venv} holds no TorchServe; make bench installs it, or name another with --serve-venv")
    archives = {DEFAULT: default_archive()} | ({archive.stem: archive} if archive else {})
    entries: list[Entry] = []
    for name, path in archives.items():
        place = unpack(path, scratch / name, serve_venv / "bin")
        entries += _list_entries(place, label_photos(place.folder), name, plan)
    kept = [entry for entry in entries if only is None or only.lower() in f"{entry.name}, {entry.way}".lower()]
    if not kept:
        names = "; ".join(dict.fromkeys(f"{entry.name}, {entry.way}" for entry in entries))
        raise BenchError(f"--only {only!r} fits nobody; the names are: {names}")
    if any(entry.way == "usual way" for entry in kept):
        _prepare_eager(kept[0].place)
    return kept


def default_archive() -> Path:
    """Return the archive that comes with fruity."""
    return max((ROOT / "model_archive" / "default").glob("fruity-*.mar"))


def _list_entries(place: Place, photos: Photos, archive: str, plan: Plan) -> Iterator[Entry]:
    """Yield who is measured on an archive: all on the default one; on another fruity, FastAPI and the ceiling."""
    cores = len(os.sched_getaffinity(0))
    fruity = Entry("fruity", "fruity", place, photos, cores, archive, CONTENDERS[0], loadings=plan.loadings)
    yield fruity
    for contender in CONTENDERS[1:]:
        if archive == DEFAULT or (contender.name, contender.way) == ("FastAPI", "same engine"):
            yield dataclasses.replace(fruity, name=contender.name, way=contender.way, contender=contender)
    for batch in plan.batches:
        yield dataclasses.replace(fruity, name=f"no server, batch {batch}", way=CEILING, contender=None, batch=batch)
    for fewer in range(1, cores):
        yield dataclasses.replace(fruity, place=limit_workers(place, fewer), cores=fewer, loadings=(CAPACITY,))


def unpack(archive: Path, folder: Path, serve_bin: Path) -> Place:
    """Return where the contenders of *archive* start; raise `BenchError`."""
    try:
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
    except FileNotFoundError as error:
        raise BenchError(f"{archive} does not exist; make archive builds one") from error
    except zipfile.BadZipFile as error:
        raise BenchError(f"{archive} is no archive of fruity ({error}); make archive builds one") from error
    return Place(folder, archive, Path(sys.executable).parent, serve_bin, frozenset(read_spec(folder).labels))


def limit_workers(place: Place, most: int) -> Place:
    """Return *place* with at most *most* workers in its archive, as whoever has so many cores would set it."""
    config = yaml.safe_load((place.folder / _CONFIG_NAME).read_text())
    limited = {name: min(int(config[name]), most) for name in ("minWorkers", "maxWorkers")}
    return configure(place, {**config, **limited}, place.folder / f"at-most-{most}-workers")


def configure(place: Place, config: Mapping[str, Any], folder: Path) -> Place:
    """Return *place* with a copy of its archive, in *folder*, that holds *config*; raise `BenchError`."""
    folder.mkdir(exist_ok=True)
    path = folder / _CONFIG_NAME
    path.write_text(yaml.safe_dump(dict(config)))
    store = folder / "configured"
    command = [str(place.serve_bin / "python"), "-m", "serving.model_store"]
    command += ["--archive", str(place.archive), "--config", str(path), "--store", str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_STAGE_S, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.strip())
    return dataclasses.replace(place, archive=store / "fruity.mar")


def label_photos(folder: Path) -> Photos:
    """Return the photos, and the mix of all, with the labels that the engine of the unpacked archive gives them."""
    engine = SameEngine(folder)
    labelled = {
        size: [dataclasses.replace(one, label=str(engine.classify([one.body])[0]["label"])) for one in photos]
        for size, photos in make_photos().items()
    }
    return {**labelled, MIX: [photo for same in zip(*labelled.values(), strict=True) for photo in same]}


def _prepare_eager(place: Place) -> None:
    command = [str(place.bench_bin / "python"), "-m", "benchmarks.peers.prepare", str(place.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"the eager peers' weights could not be written: {done.stderr.strip()[-300:]}")
