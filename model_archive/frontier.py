"""What accuracy costs on this machine: python -m model_archive.frontier RUN….

Every run is exported as for an archive, in float and in int8, and each engine timed as it is served.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from msgspec.structs import replace
from rich.console import Console

from handler.engine import OPENVINO_FILE
from handler.openvino_engine import OpenVinoEngine
from handler.spec import Spec, SpecError, read_spec
from model_archive.build_error import BuildError, QuantizationError
from model_archive.candidates import FRONTIER, REASON, Candidate, format_table, propose, write_candidates
from model_archive.engine_export import export_engines
from model_archive.quantization_photos import read_photos
from model_archive.quantize import infer_with_openvino, quantize_engine
from model_archive.served_network import load_network

_NUM_TIMED = 50
_COLOURS = {"float": "#9aa5a0", "int8": "#2f7d4f"}


def measure_runs(runs: Sequence[Path], scratch: Path) -> list[Candidate]:
    """Return the candidates of all *runs*, the cheapest first; raise `BuildError` or `SpecError`.

    Their engines are written to the folder *scratch*.
    """
    specs = [read_spec(run) for run in runs]
    if len({spec.provenance.data_digest for spec in specs}) > 1:
        raise BuildError("these runs were evaluated on different photos; give runs that were trained on one data set")
    split = choose_split(specs)
    exported = [
        engine
        for number, (run, spec) in enumerate(zip(runs, specs, strict=True))
        for engine in _export_run(run, spec, split, scratch / str(number))
    ]
    times_ms = _time_engines(exported)
    timed = [replace(found, cpu_ms=time_ms) for (found, _), time_ms in zip(exported, times_ms, strict=True)]
    return sorted(timed, key=lambda found: found.cpu_ms)


def draw_frontier(candidates: Sequence[Candidate], path: Path) -> None:
    """Write top-1 over CPU time as SVG, with the line of those that no cheaper one reaches."""
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    axes = figure.subplots()
    drawn: set[str] = set()
    for found in candidates:
        low, high = found.interval
        errors = [[found.top1 - low], [high - found.top1]]
        axes.errorbar(found.cpu_ms, found.top1, errors, fmt="o", color=_COLOURS[found.precision], capsize=2)
        # To the left of a run's cheaper engine and to the right of the other one, so that the two do not overlap.
        side = -1 if found.run not in drawn else 1
        drawn.add(found.run)
        axes.annotate(
            f"{found.run}\n{found.name}",
            (found.cpu_ms, found.top1),
            xytext=(6 * side, 0),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            fontsize=7,
        )
    best = [f for f in candidates if all(f.top1 > o.top1 for o in candidates if o.cpu_ms < f.cpu_ms)]
    axes.step([f.cpu_ms for f in best], [f.top1 for f in best], where="post", color="#e07a2f", zorder=0)
    axes.set(xlabel="CPU ms a photo, the network alone", ylabel=f"top-1 on {candidates[0].split}")
    axes.margins(x=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    with mpl.rc_context({"svg.hashsalt": "fruity"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def choose_split(specs: Sequence[Spec]) -> str:
    """Return test if all *specs* have its top-1 with an interval, on equally many photos; else val."""
    # The digest of the data does not cover data.test.
    tests = {spec.metrics["test"]["photos"] if "top1" in spec.intervals.get("test", {}) else None for spec in specs}
    return "test" if len(tests) == 1 and None not in tests else "val"


def _export_run(run: Path, spec: Spec, split: str, folder: Path) -> list[tuple[Candidate, Path]]:
    """Return the candidates of *run*, not timed yet, and their engines' files below *folder*."""
    in_float, in_int8 = folder / "float" / OPENVINO_FILE, folder / "int8" / OPENVINO_FILE
    for file in (in_float, in_int8):
        file.parent.mkdir(parents=True)
        export_engines(load_network(run, spec), spec, ["openvino"], file.parent)
    found = _find_accuracy(run, spec, split)
    try:
        figures = quantize_engine(in_int8, read_photos(run, spec), infer_with_openvino(in_float))
    except QuantizationError as error:
        sys.stderr.write(f"{found.run} stays in float: {error}\n")
        return [(found, in_float)]
    loss = float(figures["top1_loss"])
    low, high = found.interval
    quantized = replace(found, precision="int8", top1=found.top1 - loss, interval=(low - loss, high - loss))
    return [(found, in_float), (quantized, in_int8)]


def _find_accuracy(run: Path, spec: Spec, split: str) -> Candidate:
    if "top1" not in spec.intervals.get(split, {}):
        raise BuildError(
            f"{run} has no top-1 of {split} with its interval; only runs of training.train can be compared"
        )
    figures = spec.metrics[split]
    return Candidate(
        run=run.resolve().name,
        architecture=spec.architecture,
        size=spec.preprocessing.size,
        precision="float",
        split=split,
        photos=round(figures["photos"]),
        top1=figures["top1"],
        interval=spec.intervals[split]["top1"],
    )


def _time_engines(exported: Sequence[tuple[Candidate, Path]]) -> list[float]:
    """Return the CPU milliseconds of one photo on one thread: the median of rounds in which all take turns."""
    engines = [OpenVinoEngine(file, threads=1) for _, file in exported]
    photos_BHWC = [np.zeros((1, found.size, found.size, 3), np.uint8) for found, _ in exported]
    times_s = np.empty((_NUM_TIMED, len(engines)))
    for turn, index in np.ndindex(*times_s.shape):
        started_s = time.process_time()
        engines[index].run(photos_BHWC[index])
        times_s[turn, index] = time.process_time() - started_s
    return [float(median) for median in 1000 * np.median(times_s, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model_archive.frontier", description="What accuracy costs here.")
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs on one data set")
    parser.add_argument("--out", type=Path, default=FRONTIER, help="default: %(default)s")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            candidates = measure_runs(asked.runs, Path(scratch))
        asked.out.mkdir(parents=True, exist_ok=True)
        table = format_table(candidates)
        write_candidates(candidates, asked.out)
        (asked.out / "frontier.md").write_text(f"{table}\n")
        draw_frontier(candidates, asked.out / "frontier.svg")
    except (BuildError, SpecError, OSError) as error:
        sys.exit(f"frontier: {error}")
    except KeyboardInterrupt:
        sys.exit("frontier: stopped; nothing was written")
    proposed = propose(candidates)
    lines = [table, "", f"proposed  {proposed.name} of {proposed.run}: {REASON}", f"written to {asked.out}"]
    Console().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
