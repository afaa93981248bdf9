"""The cheapest engine for the accuracy: measured on a real run, and chosen among figures that are given."""

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from handler.spec import read_spec, write_spec
from model_archive.build_error import BuildError
from model_archive.frontier import Candidate, measure_runs, propose


def _candidate(name: str, top1: float, cpu_ms: float) -> Candidate:
    return Candidate(name, "net", 224, "float", "val", 200, top1, cpu_ms)


@pytest.mark.parametrize(("top1", "proposed"), [(0.8951, "small"), (0.8949, "large")])
def test_the_cheapest_within_half_a_point_of_the_best_is_proposed(top1: float, proposed: str) -> None:
    candidates = [_candidate("tiny", 0.7, 1.0), _candidate("small", top1, 5.0), _candidate("large", 0.9, 20.0)]
    assert propose(candidates).run == proposed


def test_an_interval_holds_the_accuracy_and_narrows_with_the_photos() -> None:
    few, many = _candidate("few", 0.9, 1.0), _candidate("many", 0.9, 1.0)._replace(photos=20_000)
    assert few.interval[0] < many.interval[0] < 0.9 < many.interval[1] < few.interval[1]


def test_a_run_is_measured_in_float_and_in_int8(probed_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "model_archive.frontier", str(probed_run), "--out", str(tmp_path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "proposed" in printed
    rows = (tmp_path / "frontier.md").read_text().splitlines()[2:]
    assert {precision for precision in ("float", "int8") for row in rows if precision in row} == {"float", "int8"}
    assert all(float(row.split("|")[-2]) > 0 for row in rows)
    assert (tmp_path / "frontier.svg").read_text().startswith("<?xml")


def test_runs_on_different_photos_are_not_compared(probed_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(probed_run, other)
    spec = read_spec(other)
    provenance = msgspec.structs.replace(spec.provenance, data_digest="sha256:other")
    write_spec(msgspec.structs.replace(spec, provenance=provenance), other)
    with pytest.raises(BuildError):
        measure_runs([probed_run, other], tmp_path / "scratch")
