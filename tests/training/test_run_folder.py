import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from handler.spec import read_spec
from tests.specs import make_spec
from training.run_folder import RunError, point_latest, read_code_revision, write_run

SPEC = make_spec()
WEIGHTS: dict[str, Tensor] = {"classifier.weight": torch.arange(6.0).reshape(2, 3)}


def write(folder: Path, **parts: Any) -> Path:
    return write_run(folder, **{"state_dict": WEIGHTS, "spec": SPEC, "metrics": {"val": {"top1": 0.5}}, **parts})


def test_a_run_folder_holds_everything_that_was_given(tmp_path: Path) -> None:
    run = write(tmp_path / "runs" / "one", config="seed: 1\n", reference={"mean": np.ones(3)}, report="<!doctype html>")

    files = "config.yaml metrics.json model.safetensors reference.npz report.html spec.json"
    assert sorted(path.name for path in run.iterdir()) == files.split()
    assert torch.equal(
        safetensors.torch.load_file(run / "model.safetensors")["classifier.weight"], WEIGHTS["classifier.weight"]
    )
    assert read_spec(run) == SPEC
    assert (run / "metrics.json").read_text() == '{\n "val": {\n  "top1": 0.5\n }\n}\n'
    assert (run / "config.yaml").read_text() == "seed: 1\n"
    with np.load(run / "reference.npz") as reference:
        assert reference["mean"].tolist() == [1.0, 1.0, 1.0]


def test_equal_runs_have_equal_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "one", reference={"mean": np.ones(3)})
    second = write(tmp_path / "two", reference={"mean": np.ones(3)})

    assert [path.read_bytes() for path in sorted(first.iterdir())] == [
        path.read_bytes() for path in sorted(second.iterdir())
    ]


def test_channels_last_weights_give_the_same_file(tmp_path: Path) -> None:
    weights = torch.randn(4, 3, 2, 2)
    plain = write(tmp_path / "plain", state_dict={"w": weights})
    channels_last = write(tmp_path / "last", state_dict={"w": weights.to(memory_format=torch.channels_last)})

    assert (plain / "model.safetensors").read_bytes() == (channels_last / "model.safetensors").read_bytes()


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "one")

    with pytest.raises(RunError, match="one exists"):
        write(tmp_path / "one")


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)

    with pytest.raises(RunError, match="disk is full"):
        write(tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, not a folder")

    with pytest.raises(RunError, match=r"File exists|Not a directory"):
        write(tmp_path / "runs" / "one")


def test_latest_points_at_the_newest_run(tmp_path: Path) -> None:
    point_latest(write(tmp_path / "one"))
    point_latest(write(tmp_path / "two"))

    assert (tmp_path / "latest").readlink() == Path("two")
    assert read_spec(tmp_path / "latest") == SPEC


def test_the_code_revision_is_the_commit_of_the_checkout() -> None:
    revision = read_code_revision(Path(__file__).parent)

    assert revision is not None
    assert len(revision.removesuffix("-dirty")) == 40


def test_outside_a_checkout_or_without_git_there_is_no_code_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_code_revision(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_code_revision(Path(__file__).parent) is None
