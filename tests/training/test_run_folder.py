from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from handler.spec import read_spec
from tests.specs import make_spec
from training.run_folder import RunError, point_latest, read_code_revision, write_run

SPEC = make_spec()
WEIGHTS = {"classifier.weight": torch.randn(4, 3, 2, 2)}
STATISTICS = {"reference.npz": {"mean": np.ones(3)}}


def write(folder: Path, **parts: Any) -> Path:
    return write_run(folder, **{"state_dict": WEIGHTS, "spec": SPEC, "metrics": {"val": {"top1": 0.5}}, **parts})


def test_a_run_folder_holds_everything_that_was_given(tmp_path: Path) -> None:
    texts = {"config.yaml": "seed: 1\n", "report.html": "<!doctype html>"}
    run = write(tmp_path / "runs" / "one", texts=texts, statistics=STATISTICS)

    files = "config.yaml metrics.json model.safetensors reference.npz report.html spec.json"
    assert sorted(path.name for path in run.iterdir()) == files.split()
    weights = safetensors.torch.load_file(run / "model.safetensors")
    assert torch.equal(weights["classifier.weight"], WEIGHTS["classifier.weight"])
    assert read_spec(run) == SPEC
    assert (run / "metrics.json").read_text() == '{\n "val": {\n  "top1": 0.5\n }\n}\n'
    assert (run / "config.yaml").read_text() == "seed: 1\n"
    with np.load(run / "reference.npz") as reference:
        assert reference["mean"].tolist() == [1.0, 1.0, 1.0]


def test_equal_runs_have_equal_bytes_also_with_channels_last_weights(tmp_path: Path) -> None:
    channels_last = {name: tensor.to(memory_format=torch.channels_last) for name, tensor in WEIGHTS.items()}
    first = write(tmp_path / "one", statistics=STATISTICS)
    second = write(tmp_path / "two", statistics=STATISTICS, state_dict=channels_last)

    contents = [[path.read_bytes() for path in sorted(run.iterdir())] for run in (first, second)]
    assert contents[0] == contents[1]


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "one")

    with pytest.raises(RunError, match="one exists"):
        write(tmp_path / "one")


def test_a_run_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write(tmp_path / "one", texts={"report.html": "\ud800"})
    assert list(tmp_path.iterdir()) == []


def test_latest_points_at_the_newest_run(tmp_path: Path) -> None:
    point_latest(write(tmp_path / "one"))
    point_latest(write(tmp_path / "two"))

    assert (tmp_path / "latest").readlink() == Path("two")
    assert read_spec(tmp_path / "latest") == SPEC


def test_the_code_revision_is_the_commit_of_the_checkout_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = read_code_revision(Path(__file__).parent)

    assert revision is not None
    assert len(revision.removesuffix("-dirty")) == 40
    assert read_code_revision(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_code_revision(Path(__file__).parent) is None
