"""The loop from corrections to a server that knows a new label, by the verbs that people use."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.endpoint import Endpoint, Photo
from benchmarks.load import run_in_background
from model_archive.build import build_archive
from serving.answers import read_first_label
from serving.model_store import ROOT
from tests.end_to_end.server import run_server
from tests.end_to_end.versions import write_thresholds
from tests.training.pictures import photo_bytes, write_image_folder
from tests.training.tiny_runs import LEARNS, TINY, run_training

pytestmark = [pytest.mark.server, pytest.mark.slow]

KNOWN = ("apple", "banana", "carrot")
TRAINING = (*TINY, *LEARNS, "recipe.method=finetune")


def write_corrections(folder: Path) -> None:
    """Write a spreadsheet of 60 photos of leek, which the server does not know."""
    folder.mkdir()
    lines = ["photo,label,who,answer"]
    for number in range(60):
        (folder / f"{number}.jpg").write_bytes(photo_bytes("leek", 7000 + number))
        lines.append(f"{number}.jpg,leek,ana,carrot")
    (folder / "mine.csv").write_text("\n".join(lines) + "\n")


def run_verb(python: str, folder: Path, *command: str) -> str:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "YES": "1"}
    done = subprocess.run(
        [python, "-m", *command], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_corrections_of_a_new_label_become_a_version_that_knows_it_and_no_request_fails(
    tmp_path: Path, warm_python: str
) -> None:
    photos = write_image_folder(tmp_path / "photos", dict.fromkeys(KNOWN, 12))
    run = run_training(photos, tmp_path / "first", *LEARNS)
    first = build_archive(run, "2.0.0", ["openvino"], tmp_path / "build")[0]
    write_corrections(tmp_path / "inbox")
    run_verb(warm_python, tmp_path, "monitoring.corrections", "corrections", "--from", "inbox/mine.csv")
    # The golden samples of networks as small as these agree by chance.
    thresholds = write_thresholds(tmp_path, watch_seconds=1)
    thresholds.write_text(thresholds.read_text().replace("golden_agreement: 0.5", "golden_agreement: 0.0"))
    rules = tmp_path / "rules.yaml"
    rules.write_text("min_corrections: 50\nmin_held_out: 5\nmin_gain: 0.3\nmax_loss: 0.5\n")
    leek = photo_bytes("leek", 9000)

    with run_server(tmp_path, first) as server:
        url = f"{server.addresses.inference}/predictions/fruity"
        before = read_first_label(httpx.post(url, content=leek).content)
        options = ["--config", str(tmp_path / "config.properties"), "--thresholds", str(rules)]
        options += ["--rollout-thresholds", str(thresholds)]
        with run_in_background(Endpoint(url), [Photo("leek", leek)], 1, 0.2) as samples:
            printed = run_verb(warm_python, tmp_path, "scripts.loop", "photos", "corrections", *options, *TRAINING)
        after = read_first_label(httpx.post(url, content=leek).content)

    assert (before.version, before.best.label in KNOWN) == ("2.0.0", True)
    assert (after.version, after.best.label) == ("2.1.0", "leek")
    assert printed.endswith("loop: 2.1.0 serves\n")
    assert {sample.error for sample in samples} == {""}
    record = json.loads((tmp_path / "build" / "loop" / "loops.jsonl").read_text())
    assert (record["from"], record["to"], record["outcome"], record["corrections"]) == ("2.0.0", "2.1.0", "done", 60)
    assert list(record["steps"]) == ["reason", "data", "train", "archive", "compare", "roll out"]


def test_a_loop_needs_a_server_or_an_archive_before_it_trains(tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    config.write_text((ROOT / "config.properties").read_text().replace(":8081", ":1"))
    command = [sys.executable, "-m", "scripts.loop", "photos", "corrections", "--config", str(config)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("loop: no answer from")
    assert "`make serve` starts one" in done.stderr
