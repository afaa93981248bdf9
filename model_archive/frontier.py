"""What accuracy costs on this machine: python -m model_archive.frontier RUN….

Every run is exported as for an archive, in float and in int8, and each engine timed as it is served.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import binomtest  # type: ignore[import-untyped]

from handler.engine import OPENVINO_FILE
from handler.openvino_engine import OpenVinoEngine
from handler.spec import Spec, SpecError, read_spec
from model_archive.build_error import BuildError, QuantizationError
from model_archive.engine_export import export_engines
from model_archive.quantization_photos import read_photos
from model_archive.quantize import infer_with_openvino, quantize_engine
from model_archive.served_network import load_network

MAX_LOSS = 0.005
"""How much less top-1 than the best the proposed engine may have."""

_REASON = f"the cheapest within {100 * MAX_LOSS:g} points of the best top-1"
_NUM_TIMED = 50
_COLOURS = {"float": "#9aa5a0", "int8": "#2f7d4f"}


class Candidate(NamedTuple):
    run: str
    architecture: str
    size: int
    precision: str
    split: str
    """Where the top-1 was measured; of a run that has learned from val, before it did."""
    photos: int
    top1: float
    cpu_ms: float = math.nan
    """CPU time of the network alone for one photo, on one thread."""

    @property
    def name(self) -> str:
        return f"{self.architecture.removeprefix('tf_efficientnet_')} {self.size} {self.precision}"

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the top-1 (Wilson, JASA 1927)."""
        low, high = binomtest(round(self.top1 * self.photos), self.photos).proportion_ci(method="wilson")
        return float(low), float(high)


def measure_runs(runs: Sequence[Path], scratch: Path) -> list[Candidate]:
    """Return the candidates of all *runs*, the cheapest first; raise `BuildError` or `SpecError`.

    Their engines are written to the folder *scratch*.
    """
    specs = [read_spec(run) for run in runs]
    if len({spec.provenance.data_digest for spec in specs}) > 1:
        raise BuildError("these runs were evaluated on different photos; give runs that were trained on one data set")
    exported = [
        engine
        for number, (run, spec) in enumerate(zip(runs, specs, strict=True))
        for engine in _export_run(run, spec, scratch / str(number))
    ]
    times_ms = _time_engines(exported)
    timed = [found._replace(cpu_ms=time_ms) for (found, _), time_ms in zip(exported, times_ms, strict=True)]
    return sorted(timed, key=lambda found: found.cpu_ms)


def propose(candidates: Sequence[Candidate]) -> Candidate:
    """Return the cheapest candidate within `MAX_LOSS` of the best top-1."""
    best = max(found.top1 for found in candidates)
    return min((found for found in candidates if found.top1 >= best - MAX_LOSS), key=lambda found: found.cpu_ms)


def format_table(candidates: Sequence[Candidate]) -> str:
    """Return *candidates* as a Markdown table, the proposed one in bold."""
    proposed = propose(candidates)
    rows = ["| run | network, pixels, precision | top-1 | 95 % | photos | CPU ms |", f"| --- | --- |{' ---: |' * 4}"]
    for found in candidates:
        low, high = found.interval
        name = f"**{found.name}**" if found == proposed else found.name
        figures = f"{found.top1:.3f} | {low:.3f} to {high:.3f} | {found.photos:,} of {found.split} | {found.cpu_ms:.1f}"
        rows.append(f"| {found.run} | {name} | {figures} |")
    return "\n".join(rows)


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


def _export_run(run: Path, spec: Spec, folder: Path) -> list[tuple[Candidate, Path]]:
    """Return the candidates of *run*, not timed yet, and their engines' files below *folder*."""
    in_float, in_int8 = folder / "float" / OPENVINO_FILE, folder / "int8" / OPENVINO_FILE
    for file in (in_float, in_int8):
        file.parent.mkdir(parents=True)
        export_engines(load_network(run, spec), spec, ["openvino"], file.parent)
    found = _find_accuracy(run, spec)
    try:
        figures = quantize_engine(in_int8, read_photos(run, spec), infer_with_openvino(in_float))
    except QuantizationError as error:
        Console(stderr=True).print(f"{found.run} stays in float: {error}", highlight=False, soft_wrap=True)
        return [(found, in_float)]
    loss = float(figures["top1_float"]) - float(figures["top1"])
    return [(found, in_float), (found._replace(precision="int8", top1=found.top1 - loss), in_int8)]


def _find_accuracy(run: Path, spec: Spec) -> Candidate:
    split = next((name for name in ("test", "val") if name in spec.metrics), None)
    if split is None:
        raise BuildError(f"{run} has no top-1 of val or test; only runs of training.train can be compared")
    photos, top1 = round(spec.metrics[split]["photos"]), spec.metrics[split]["top1"]
    size = spec.preprocessing.size
    return Candidate(run.resolve().name, spec.architecture, size, "float", split, photos, top1)


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
    parser.add_argument("--out", type=Path, default=Path("build/frontier"), help="default: %(default)s")
    asked = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            candidates = measure_runs(asked.runs, Path(scratch))
        asked.out.mkdir(parents=True, exist_ok=True)
        table = format_table(candidates)
        (asked.out / "frontier.md").write_text(f"{table}\n")
        draw_frontier(candidates, asked.out / "frontier.svg")
    except (BuildError, SpecError, OSError) as error:
        sys.exit(f"frontier: {error}")
    proposed = propose(candidates)
    lines = [table, "", f"proposed  {proposed.name} of {proposed.run}: {_REASON}", f"written to {asked.out}"]
    Console().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
