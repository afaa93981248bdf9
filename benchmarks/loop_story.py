"""The loop from end to end: a server without ten of 81 labels meets them, and `make loop` alone brings them.

Writes build/bench/loop.json and loop.svg; docs/benchmarks.md has the story.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.bench_results import OUT, write_json
from benchmarks.endpoint import Endpoint, Photo
from benchmarks.grocery import GROCERY, GroceryPhoto
from benchmarks.load import count_errors, run_in_background
from benchmarks.loop_photos import StoryPhotos, choose_photos, write_corrections, write_data
from benchmarks.loop_stream import Asked, ask_all, draw_story, measure, send_photos, wait_for
from benchmarks.measurement import measuring
from benchmarks.server_process import ServerError, write_server_config
from serving.model_store import ROOT, stage
from serving.torchserve import MODEL, TorchServe

_FIRST = "1.0.0"
_TRAINING = ("network=lite0", "recipe.class_weighting=true", "evaluation.robustness_photos=0", "tracker=none")
_CLIENTS = 2
_CLIENT_PAUSE_S = 0.2
_READY_S = 90
# Photos between looks for drift: two looks before the new labels come, which must find nothing, then one after another.
# A look compares the last full 200 of the log, so that drift is found when it has 200 more.
_BEFORE, _EVERY, _LAST = 200, 25, 400
_DRIFT_FOUND = 3


def main() -> None:
    """Tell the story, print its figures; exits with 1 if a request failed."""
    parser = argparse.ArgumentParser(description="Measure the loop from drift to the next version.")
    parser.add_argument("--data", type=Path, default=GROCERY, help="the folder of Grocery Store")
    data, folder = parser.parse_args().data, OUT / "loop"
    with measuring("bench-loop"):
        photos = choose_photos(data)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        asked, events = list[Asked](), dict[str, float]()
        figures = _build_first(photos, folder)
        with _serve(folder) as url:
            figures |= _tell(photos, url, folder, asked, events)
    print(write_json(OUT / "loop.json", figures))
    draw_story(asked, photos.new_labels, events, OUT / "loop.svg")
    sys.exit(1 if figures["failed"] else 0)


def _build_first(photos: StoryPhotos, folder: Path) -> dict[str, Any]:
    """Build the version that knows 71 labels; return how long it took."""
    write_data(photos, folder / "data.csv")
    started_s = time.perf_counter()
    _run(folder, "training.train", "experiment=quick", "data.source=data.csv", "id=first", *_TRAINING)
    # In float, which is built sooner: the loop builds its own behind the int8 gate.
    _run(folder, "model_archive.build", "--run", "runs/first", "--version", _FIRST, "--precision", "float")
    return {"first_version_s": round(time.perf_counter() - started_s), "new_labels": photos.new_labels}


@contextmanager
def _serve(folder: Path) -> Iterator[str]:
    """Serve the first version with a prediction log; yield where photos are sent."""
    staged = stage(folder / "build" / f"{MODEL}-{_FIRST}.mar", folder / "model_store")
    config = write_server_config(ROOT / "config.properties", folder, {"model_store": str(folder / "model_store")})
    os.environ["PREDICTION_LOG"] = str(folder / "log")
    with (folder / "server.log").open("wb") as log, TorchServe(config, ROOT, staged, log.fileno()) as server:
        server.wait_until_ready(_READY_S)
        yield f"{server.addresses.inference}/predictions/{MODEL}"


def _tell(photos: StoryPhotos, url: str, folder: Path, asked: list[Asked], events: dict[str, float]) -> dict[str, Any]:
    """Return what happened; *asked* and *events* get what the picture shows."""
    pools: list[Sequence[GroceryPhoto]] = [photos.world]
    with send_photos(url, pools, asked):
        false_alarms = 0
        for _ in range(2):
            wait_for(asked, _BEFORE)
            false_alarms += _has_drifted(folder)
        events["new labels come in"] = time.perf_counter()
        pools.append(photos.corrected)
        detected_after = _wait_for_drift(asked, folder)
        events["drift found"] = time.perf_counter()
        # From here on with photos that nobody corrects, so that no version learns from them.
        pools[1] = photos.measured
        before = _measure_all(url, photos)
        inbox = write_corrections(folder / "inbox", ask_all(url, photos.corrected), _FIRST)
        _run(folder, "monitoring.corrections", "corrections", "--from", str(inbox))
        load = [Photo(photo.path.name, photo.path.read_bytes()) for photo in photos.known]
        with run_in_background(Endpoint(url), load, _CLIENTS, _CLIENT_PAUSE_S) as samples:
            events["make loop"] = time.perf_counter()
            options = ("--log", "log", "--config", str(folder / "config.properties"))
            _run(folder, "scripts.loop", "data.csv", "corrections", *options, *_TRAINING, YES="1")
            loop_s = time.perf_counter() - events["make loop"]
        wait_for(asked, 200)
    errors = [*count_errors(samples).elements(), *(one.error for one in asked if one.error)]
    return {
        "false_alarms": false_alarms,
        "detected_after_photos": detected_after,
        "before": before,
        "after": _measure_all(url, photos),
        "loop_s": round(loop_s),
        "loop": msgspec.json.decode((folder / "build/loop/loops.jsonl").read_bytes()),
        "requests": len(samples) + len(asked),
        "failed": len(errors),
        "failures": sorted(set(errors)),
    }


def _wait_for_drift(asked: list[Asked], folder: Path) -> int | None:
    """Return how many photos had come in when drift was found, None if it was not."""
    num_before = len(asked)
    while (num_seen := len(asked) - num_before) < _LAST:
        if num_seen and _has_drifted(folder):
            return num_seen
        wait_for(asked, _EVERY)
    return None


def _has_drifted(folder: Path) -> bool:
    options = ("--archive", f"build/{MODEL}-{_FIRST}.mar", "--log", "log")
    return _start(folder, "monitoring.drift", *options) == _DRIFT_FOUND


def _measure_all(url: str, photos: StoryPhotos) -> dict[str, float]:
    """Return the accuracy of the version that serves, none of whose versions has learned from these photos."""
    sets = {"new": photos.measured, "new_val": photos.measured_val, "known": photos.known}
    return {name: round(measure(url, some), 4) for name, some in sets.items()}


def _run(folder: Path, *command: str, **environment: str) -> None:
    if code := _start(folder, *command, **environment):
        raise ServerError(f"python -m {' '.join(command)} ended with {code}; its message is above")


def _start(folder: Path, *command: str, **environment: str) -> int:
    """Run a verb in *folder*, so that the checkout's own runs and archives stay as they are; return its exit code."""
    variables = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, env=variables, check=False).returncode


if __name__ == "__main__":
    main()
