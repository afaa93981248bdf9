"""The rows of a run: who is measured on which archives, unpacked, with the photos that are sent."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.bench_results import CEILING, DEFAULT, BenchError
from benchmarks.contenders import CONTENDERS, FRUITY, Place
from benchmarks.peers.same_engine import SameEngine
from benchmarks.sample_photos import MIX, make_photos
from benchmarks.scenarios import CAPACITY, Plan
from benchmarks.trials import Entry, Photos
from handler.engine import EngineError
from handler.spec import SpecError, read_spec
from serving.model_store import CONFIG_NAME, DEFAULT_ARCHIVES, ROOT, newest_archive, stage

EAGER_CEILING = "no server, eager PyTorch"


def find_entries(archive: Path | None, only: str | None, plan: Plan, serve_venv: Path, scratch: Path) -> list[Entry]:
    """Return who is measured, on the default archive and on *archive*, unpacked below *scratch*.

    *only* keeps those whose name holds it. Raises `BenchError`.
    """
    if not (serve_venv / "bin" / "torchserve").exists():
        raise BenchError(f"{serve_venv} has no TorchServe; make bench installs it, or name another with --serve-venv")
    archives = {DEFAULT: newest_archive(DEFAULT_ARCHIVES)} | ({archive.stem: archive} if archive else {})
    entries: list[Entry] = []
    for name, path in archives.items():
        place, photos = unpack(path, scratch / name, serve_venv / "bin")
        entries += _list_entries(place, photos, name, plan)
    kept = [entry for entry in entries if only is None or only.lower() in f"{entry.name}, {entry.way}".lower()]
    if not kept:
        names = "; ".join(dict.fromkeys(f"{entry.name}, {entry.way}" for entry in entries))
        raise BenchError(f"--only {only!r} matches no name; the names are: {names}")
    if any(entry.way == "usual way" or entry.name == EAGER_CEILING for entry in kept):
        _write_eager_weights(kept[0].place)
    return kept


def _list_entries(place: Place, photos: Photos, archive: str, plan: Plan) -> Iterator[Entry]:
    """Yield who is measured on an archive: all on the default one; on another fruity, FastAPI and the ceiling."""
    cores = len(os.sched_getaffinity(0))
    fruity = Entry("fruity", "fruity", place, photos, cores, archive, FRUITY, scenarios=plan.scenarios)
    yield fruity
    for contender in CONTENDERS[1:]:
        if archive == DEFAULT or (contender.name, contender.way) == ("FastAPI", "same engine"):
            yield replace(fruity, name=contender.name, way=contender.way, contender=contender)
    ceilings = {f"no server, batch {batch}": ("--batch", str(batch)) for batch in plan.batches}
    eager = {EAGER_CEILING: ("--way", "eager")} if archive == DEFAULT else {}
    for name, options in (ceilings | eager).items():
        yield replace(fruity, name=name, way=CEILING, contender=None, ceiling_options=options)
    for fewer in range(1, cores):
        yield replace(fruity, place=limit_workers(place, fewer), cores=fewer, scenarios=(CAPACITY,))


def unpack(archive: Path, folder: Path, serve_bin: Path) -> tuple[Place, Photos]:
    """Return where the contenders of *archive* start, and the photos with its labels; raise `BenchError`."""
    try:
        with zipfile.ZipFile(archive) as members:
            members.extractall(folder)
        labels = frozenset(read_spec(folder).labels)
        return Place(folder, archive, Path(sys.executable).parent, serve_bin, labels), label_photos(folder)
    except FileNotFoundError as error:
        raise BenchError(f"{archive} does not exist; make archive builds one") from error
    except (zipfile.BadZipFile, SpecError, EngineError) as error:
        raise BenchError(f"{archive} cannot be measured: {error}; make archive builds one") from error


def label_photos(folder: Path) -> Photos:
    """Return the photos, and the mix of all, with the labels that the engine of the unpacked archive gives them."""
    engine = SameEngine(folder)
    labelled = {
        size: [replace(photo, label=str(engine.classify([photo.body])[0]["label"])) for photo in photos]
        for size, photos in make_photos().items()
    }
    return {**labelled, MIX: [photo for same in zip(*labelled.values(), strict=True) for photo in same]}


def limit_workers(place: Place, most: int) -> Place:
    """Return *place* with at most *most* workers in its archive, as a service with so many cores would set it."""
    config = yaml.safe_load((place.folder / CONFIG_NAME).read_text())
    config |= {name: min(int(config[name]), most) for name in ("minWorkers", "maxWorkers")}
    folder = place.folder / f"at-most-{most}-workers"
    folder.mkdir()
    (folder / CONFIG_NAME).write_text(yaml.safe_dump(config))
    return replace(place, archive=stage(place.archive, folder / "configured", config=folder / CONFIG_NAME))


def _write_eager_weights(place: Place) -> None:
    command = [str(place.bench_bin / "python"), "-m", "benchmarks.peers.prepare", str(place.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"the eager peers' weights could not be written: {done.stderr.strip()[-300:]}")
