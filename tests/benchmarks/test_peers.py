"""Every peer, as `make bench` starts it, says the same of every photo.

They need the extra `bench` in a venv of its own: .venv-bench, or the one that BENCH_VENV names.
"""

import asyncio
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.client import ask_once
from benchmarks.contenders import CONTENDERS, ROOT, Contender, Place, start
from benchmarks.entries import label_photos, unpack
from benchmarks.photos import MIDDLE
from benchmarks.plan import MIX
from benchmarks.visits import START_S, Photos
from tests.conftest import DEFAULT_ARCHIVE

BENCH_VENV = Path(os.environ.get("BENCH_VENV", ROOT / ".venv-bench"))

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BENCH_VENV / "bin" / "bentoml").exists(), reason=f"no peers in {BENCH_VENV}; make bench installs them"
    ),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The default archive, unpacked and prepared for the eager peers."""
    place = unpack(DEFAULT_ARCHIVE, tmp_path_factory.mktemp("archive"), BENCH_VENV / "bin")
    command = [str(BENCH_VENV / "bin" / "python"), "-m", "benchmarks.peers.prepare", str(place.folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return replace(place, bench_bin=BENCH_VENV / "bin")


@pytest.fixture(scope="module")
def photos(place: Place) -> Photos:
    return label_photos(place.folder)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: f"{one.name}, {one.way}")
def test_each_contender_gives_each_photo_the_label_of_the_archives_engine(
    contender: Contender, place: Place, photos: Photos, tmp_path: Path
) -> None:
    with start(contender, place, tmp_path) as (server, target):
        server.wait_for_answer(target, photos[MIDDLE][0], START_S)
        errors = {photo.name: asyncio.run(ask_once(target, photo)) for photo in photos[MIX]}

    assert errors == {photo.name: None for photo in photos[MIX]}
