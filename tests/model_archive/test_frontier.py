"""The cheapest engine for the accuracy: measured on a real run, and chosen among figures that are given."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from handler.spec import Spec, read_spec, write_spec
from model_archive.build_error import BuildError
from model_archive.candidates import FRONTIER_FILE, Candidate, propose, read_candidates
from model_archive.frontier import choose_split, draw_frontier, measure_runs
from tests.specs import make_spec


def _candidate(name: str, top1: float, cpu_ms: float) -> Candidate:
    return Candidate(
        run=name,
        architecture="net",
        size=224,
        precision="float",
        split="val",
        photos=200,
        top1=top1,
        interval=(top1 - 0.05, top1 + 0.05),
        cpu_ms=cpu_ms,
    )


@pytest.mark.parametrize(("top1", "proposed"), [(0.8951, "small"), (0.8949, "large")])
def test_the_cheapest_within_half_a_point_of_the_best_is_proposed(top1: float, proposed: str) -> None:
    candidates = [_candidate("tiny", 0.7, 1.0), _candidate("small", top1, 5.0), _candidate("large", 0.9, 20.0)]
    assert propose(candidates).run == proposed


def test_a_run_is_measured_in_float_and_in_int8(probed_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model_archive.frontier", str(probed_run), "--out", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "proposed" in printed
    rows = (tmp_path / "frontier.md").read_text().splitlines()[2:]
    assert {precision for precision in ("float", "int8") for row in rows if precision in row} == {"float", "int8"}
    assert all(float(row.split("|")[-2]) > 0 for row in rows)
    assert (tmp_path / "frontier.svg").read_text().startswith("<?xml")
    as_float = next(found for found in read_candidates(tmp_path) if found.precision == "float")
    spec = read_spec(probed_run)
    assert (as_float.top1, as_float.interval) == (spec.metrics["val"]["top1"], spec.intervals["val"]["top1"])


def test_the_line_of_the_frontier_leaves_out_what_a_cheaper_one_reaches(tmp_path: Path) -> None:
    candidates = [_candidate("tiny", 0.7, 1.0), _candidate("dear", 0.7, 5.0), _candidate("large", 0.9, 20.0)]

    draw_frontier(candidates, tmp_path / "frontier.svg")

    (line,) = re.findall(r'<path d="([^"]*)"[^>]*stroke: #e07a2f', (tmp_path / "frontier.svg").read_text())
    # Right from tiny, then up to large.
    (start_x, start_y), (corner_x, corner_y), (end_x, end_y) = (
        (float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", line)
    )
    assert (corner_x, corner_y) == (end_x, start_y)
    assert (start_x < end_x, start_y > end_y) == (True, True)


def _evaluated(**num_photos: int) -> Spec:
    metrics = {split: {"top1": 0.9, "photos": float(count)} for split, count in num_photos.items()}
    return make_spec(metrics=metrics, intervals={split: {"top1": (0.8, 1.0)} for split in num_photos})


@pytest.mark.parametrize(
    ("specs", "split"),
    [
        ((_evaluated(val=50, test=80), _evaluated(val=50, test=80)), "test"),
        ((_evaluated(val=50, test=80), _evaluated(val=50)), "val"),
        ((_evaluated(val=50, test=80), _evaluated(val=50, test=90)), "val"),
        ((_evaluated(val=50),), "val"),
    ],
)
def test_all_runs_are_compared_on_the_same_split(specs: tuple[Spec, ...], split: str) -> None:
    assert choose_split(specs) == split


def test_runs_on_different_photos_are_not_compared(probed_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(probed_run, other)
    spec = read_spec(other)
    provenance = msgspec.structs.replace(spec.provenance, data_digest="sha256:other")
    write_spec(msgspec.structs.replace(spec, provenance=provenance), other)
    with pytest.raises(BuildError):
        measure_runs([probed_run, other], tmp_path / "scratch")


def test_a_damaged_file_of_candidates_is_named(tmp_path: Path) -> None:
    (tmp_path / FRONTIER_FILE).write_text("[{")
    with pytest.raises(BuildError, match=FRONTIER_FILE):
        read_candidates(tmp_path)
