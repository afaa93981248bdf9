"""Every peer gives every photo the same label; they need .venv-bench, or the venv that BENCH_VENV names."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contenders import CONTENDERS, Contender, Place, start
from benchmarks.entries import START_S, unpack
from benchmarks.load import ask_once
from benchmarks.scenarios import MIDDLE, MIX
from serving.model_store import ROOT
from tests.conftest import DEFAULT_ARCHIVE

BENCH_VENV = Path(os.environ.get("BENCH_VENV", ROOT / ".venv-bench"))

without_peers = not (BENCH_VENV / "bin" / "bentoml").exists()
skip = pytest.mark.skipif(without_peers, reason=f"no peers in {BENCH_VENV}; make bench installs them")
pytestmark = [pytest.mark.server, pytest.mark.slow, skip]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = unpack(DEFAULT_ARCHIVE, tmp_path_factory.mktemp("archive"), BENCH_VENV / "bin")
    command = [str(BENCH_VENV / "bin" / "python"), "-m", "benchmarks.peers.prepare", str(place.folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return replace(place, bench_bin=BENCH_VENV / "bin")


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: f"{one.name}, {one.way}")
def test_each_contender_gives_each_photo_the_label_of_the_archives_engine(
    contender: Contender, place: Place, tmp_path: Path
) -> None:
    with start(contender, place, tmp_path) as (server, endpoint):
        server.wait_for_answer(endpoint, place.photos[MIDDLE][0], START_S)
        errors = {photo.name: ask_once(endpoint, photo) for photo in place.photos[MIX]}

    assert errors == {photo.name: "" for photo in place.photos[MIX]}
