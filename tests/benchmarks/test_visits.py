import math
import multiprocessing
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import ceiling
from benchmarks.bench import run_rounds
from benchmarks.contenders import CONTENDERS, ROOT, Contender, Place, start
from benchmarks.entries import label_photos, limit_workers, unpack
from benchmarks.photos import MIDDLE, SIZES, SMALL, make_photos
from benchmarks.plan import CAPACITY, FULL, MIX, QUICK, Loading, Plan
from benchmarks.results import CEILING
from benchmarks.visits import Entry
from benchmarks.wire import Photo
from handler.preprocess import preprocess_photo
from handler.settings import Limits
from handler.spec import Preprocessing
from tests.benchmarks.answering import LABELS, PHOTO
from tests.conftest import DEFAULT_ARCHIVE

ANSWERING = "{bin}/python -m tests.benchmarks.answering {port} "
TINY = Plan(rounds=2, seconds=0.3, warm_up_s=0.1, max_seconds=0.3)
BIN = Path(sys.executable).parent


def make_entry(command: str, *loadings: Loading) -> Entry:
    place = Place(ROOT, DEFAULT_ARCHIVE, BIN, BIN, LABELS)
    photos: dict[str, list[Photo]] = {MIDDLE: [PHOTO], MIX: [PHOTO, PHOTO]}
    contender = Contender("peer", "same engine", command)
    return Entry("peer", "same engine", place, photos, cores=1, contender=contender, loadings=loadings)


@pytest.fixture(autouse=True)
def _python_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    # wrk counts whole seconds alone.
    monkeypatch.setattr("benchmarks.wrk.is_installed", lambda: False)


def test_a_visit_starts_loads_and_weighs_a_contender() -> None:
    loadings = (CAPACITY, Loading(MIX, 2), Loading(MIX, share=0.5))
    before = os.sched_getaffinity(0)

    visit = make_entry(ANSWERING + "espresso", *loadings).visit(1, TINY)

    assert visit.failure is None
    assert (visit.row, visit.round) == (("peer", "same engine", "default", 1), 1)
    assert [scene.name for scene in visit.scenes] == ["512x512, 16 clients", "mix, 2 clients", "mix, open loop at 50%"]
    assert all(scene.photos_per_s > 0 and scene.errors == {} for scene in visit.scenes)
    assert visit.start_s is not None
    assert visit.pss_mb is not None
    assert os.sched_getaffinity(0) == before


def test_a_contender_that_answers_otherwise_than_the_archive_is_not_measured() -> None:
    entry = make_entry(ANSWERING + "espresso", CAPACITY)
    wrong = replace(entry, photos={**entry.photos, SMALL: [Photo("cat", b"photo", "not food")]})

    visit = wrong.visit(0, TINY)

    assert visit.failure == "it does not answer as the archive's engine does: {'cat': 'wrong label'}"
    assert visit.scenes == []


def test_a_contender_that_does_not_start_is_a_failure_and_the_round_goes_on() -> None:
    absent = replace(make_entry("{bin}/absent {port}", CAPACITY), name="absent")

    run = run_rounds([absent, make_entry(ANSWERING + "espresso", CAPACITY)], TINY)

    assert [(visit.name, visit.round) for visit in run.visits] == [
        ("absent", 0),
        ("absent", 1),
        ("peer", 0),
        ("peer", 1),
    ]
    assert [visit.failure is None for visit in run.visits] == [False, False, True, True]


@pytest.mark.parametrize(
    ("loading", "photos_per_s", "seconds"),
    [
        (Loading(MIX, 16), 0, 2),
        (Loading(MIX, 16), 500, 2),
        (Loading(MIX, 64), 25, 5.12),
        (Loading(MIX, 1), 25, 4),
        (Loading(MIX, 64), 1, 10),
        (Loading(MIX, share=0.5), 40, 5),
        (Loading(MIX, share=0.5), 500, 2),
    ],
)
def test_a_slow_server_gets_time_for_enough_answers(loading: Loading, photos_per_s: float, seconds: float) -> None:
    assert Plan(rounds=1, seconds=2).seconds_for(loading, photos_per_s) == seconds


def test_a_slowed_contender_comes_out_slower_in_a_whole_run() -> None:
    entries = [
        replace(make_entry(f"{ANSWERING} espresso {delay_s}", Loading(MIX, 1)), name=name)
        for name, delay_s in (("quick", 0), ("slowed", 0.3))
    ]

    visits = run_rounds(entries, replace(TINY, rounds=1, seconds=1, max_seconds=1)).visits
    quick, slowed = (visit.scenes[0] for visit in visits)

    assert [visit.name for visit in visits] == ["quick", "slowed"]
    assert quick.photos_per_s > 2 * slowed.photos_per_s > 0
    assert 2 * (quick.p50_ms or math.inf) < (slowed.p50_ms or 0)


def test_fruity_writes_no_access_log_as_in_its_container(tmp_path: Path) -> None:
    place = Place(ROOT, DEFAULT_ARCHIVE, BIN, BIN, LABELS)
    told = 'print(__import__("os").environ.get("TORCHSERVE_ACCESS_LOG"))'
    contender = Contender("fruity", "fruity", f"{{bin}}/python -c {told}")

    with start(contender, place, tmp_path) as (server, _):
        assert server.wait_for_end(120) == "off\n"


def test_fruity_with_fewer_cores_has_no_more_workers_than_cores(tmp_path: Path) -> None:
    place = unpack(DEFAULT_ARCHIVE, tmp_path / "archive", BIN)

    configs = [_read_config(limit_workers(place, most).archive) for most in (1, 8)]

    before = _read_config(DEFAULT_ARCHIVE)
    assert configs == [{**before, "minWorkers": 1, "maxWorkers": 1}, before]


def _read_config(archive: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(zipfile.ZipFile(archive).read("model-config.yaml"))
    return config


@pytest.mark.parametrize("plan", [FULL, QUICK])
def test_an_open_loop_comes_after_the_closed_one_that_it_is_a_share_of(plan: Plan) -> None:
    names = [loading.name for loading in plan.loadings]

    assert len(set(names)) == len(names)
    for number, loading in enumerate(plan.loadings):
        earlier = [one.photos for one in plan.loadings[:number] if one.clients]
        assert not loading.share or loading.photos in earlier


def test_each_peer_stands_once_in_each_way_and_has_a_file_of_its_own() -> None:
    keys = [(contender.name, contender.way) for contender in CONTENDERS]
    modules = [word for one in CONTENDERS for word in one.command.split() if "benchmarks.peers" in word]
    files = [ROOT / (word.partition(":")[0].replace(".", "/") + ".py") for word in modules]

    assert len(set(keys)) == len(keys) == 10
    assert len(set(files)) == 8
    assert all(file.is_file() for file in files)


def test_the_photos_are_jpegs_of_their_size_and_a_phones_weighs_megabytes() -> None:
    photos = make_photos()
    any_size = Preprocessing(size=32, crop=1, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)

    assert set(photos) == set(SIZES)
    assert all(
        preprocess_photo(photo.body, any_size, Limits()).std() > 10 for size in photos.values() for photo in size
    )
    assert all(len(photo.body) < 100_000 for photo in (*photos["100x100"], *photos[MIDDLE]))
    assert all(len(photo.body) > 1_500_000 for photo in photos["12 megapixels"])


def test_the_default_archive_labels_the_photos_alike_in_every_size(tmp_path: Path) -> None:
    place = unpack(DEFAULT_ARCHIVE, tmp_path, BIN)

    photos = label_photos(place.folder)

    assert {photo.name: photo.label for photo in photos[MIDDLE]} == {
        "coffee 512x512": "espresso",
        "chelsea 512x512": "not food",
    }
    assert [photo.label for photo in photos[MIX]] == ["espresso"] * 3 + ["not food"] * 3
    assert {photo.label for photo in photos[MIX]} <= place.labels


def test_the_ceiling_counts_the_photos_of_all_cores(tmp_path: Path) -> None:
    place = unpack(DEFAULT_ARCHIVE, tmp_path, BIN)
    photos = {MIDDLE: make_photos()[MIDDLE]}

    visit = Entry("no server", CEILING, place, photos, cores=len(os.sched_getaffinity(0)), batch=2).visit(0, TINY)

    assert visit.failure is None
    assert visit.scenes[0].name == CAPACITY.name
    assert visit.scenes[0].photos_per_s > 0
    assert visit.scenes[0].cpu_ms_per_photo is not None


def test_a_process_of_the_ceiling_counts_its_photos_and_their_cpu_time(tmp_path: Path) -> None:
    unpack(DEFAULT_ARCHIVE, tmp_path, BIN)
    ceiling.load(tmp_path, 1, multiprocessing.get_context("spawn").Barrier(1))

    photos_per_s, cpu_ms = ceiling.work([photo.body for photo in make_photos()[SMALL]], batch=3, seconds=0.2)

    assert photos_per_s > 0
    assert cpu_ms > 0
