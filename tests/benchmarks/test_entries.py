import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchmarks.bench import run_rounds
from benchmarks.bench_results import CEILING
from benchmarks.contenders import Contender, Place, start
from benchmarks.endpoint import Photo
from benchmarks.entries import Entry, limit_workers, unpack
from benchmarks.scenarios import CAPACITY, FULL, MIDDLE, MIX, PHONE, PHONE_CLIENT, SMALL, Scenario, make_photos
from serving.model_store import ROOT
from tests.benchmarks.labelling_server import LABELS, PHOTO
from tests.conftest import DEFAULT_ARCHIVE

LABELLING = "{bin}/python -m tests.benchmarks.labelling_server {port} "
TINY = replace(FULL, rounds=2, seconds=0.3, warm_up_s=0.1, max_seconds=0.3)
BIN = Path(sys.executable).parent
PLACE = Place(ROOT, DEFAULT_ARCHIVE, BIN, BIN, LABELS, {MIDDLE: [PHOTO], MIX: [PHOTO, PHOTO]})


def make_entry(command: str, *scenarios: Scenario, name: str = "peer") -> Entry:
    return Entry(Contender(name, "same engine", command), PLACE, 1, scenarios)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return unpack(DEFAULT_ARCHIVE, tmp_path_factory.mktemp("archive"), BIN)


def test_a_trial_starts_loads_and_measures_a_contender() -> None:
    scenarios = (CAPACITY, Scenario(MIX, 2), Scenario(MIX, share=0.5))
    before = os.sched_getaffinity(0)

    trial = make_entry(LABELLING + "espresso", *scenarios).measure(1, TINY)

    assert trial.failure is None
    assert (trial.name, trial.way, trial.archive, trial.cores) == ("peer", "same engine", "default", 1)
    assert trial.round == 1
    assert [one.name for one in trial.results] == ["512x512, 16 clients", "mix, 2 clients", "mix, open loop at 50%"]
    assert all(one.photos_per_s > 0 and one.errors == {} for one in trial.results)
    assert trial.start_s is not None
    assert trial.pss_mb is not None
    assert os.sched_getaffinity(0) == before


def test_a_contender_that_answers_other_labels_than_the_archive_is_not_measured() -> None:
    entry = make_entry(LABELLING + "espresso", CAPACITY)

    place = replace(PLACE, photos={**PLACE.photos, SMALL: [Photo("cat", b"photo", "not food")]})

    trial = replace(entry, place=place).measure(0, TINY)

    assert "{'cat': 'wrong label'}" in (trial.failure or "")
    assert trial.results == []


def test_a_contender_that_does_not_start_is_a_failure_and_the_round_goes_on() -> None:
    absent = make_entry("{bin}/absent {port}", CAPACITY, name="absent")

    run = run_rounds([absent, make_entry(LABELLING + "espresso", CAPACITY)], TINY)

    trials = [(trial.name, trial.round, trial.failure is None) for trial in run.trials]
    assert trials == [("absent", 0, False), ("absent", 1, False), ("peer", 0, True), ("peer", 1, True)]


@pytest.mark.parametrize(
    ("scenario", "photos_per_s", "seconds"),
    [
        (Scenario(MIX, 16), 0, 2),
        (Scenario(MIX, 16), 500, 2),
        (Scenario(MIX, 64), 25, 5.12),
        (Scenario(MIX, 64), 1, 10),
        (Scenario(MIX, share=0.5), 40, 5),
    ],
)
def test_a_slow_server_gets_time_for_enough_answers(scenario: Scenario, photos_per_s: float, seconds: float) -> None:
    assert FULL.seconds_for(scenario, photos_per_s) == seconds


def test_fruity_writes_no_access_log_as_in_its_container(tmp_path: Path) -> None:
    # One word, since commands are split at spaces.
    program = 'assert(__import__("os").environ["TORCHSERVE_ACCESS_LOG"]=="off")'
    contender = Contender("fruity", "fruity", "{bin}/python -c " + program)

    with start(contender, PLACE, tmp_path) as (server, _):
        server.wait_for_end(120)


def test_fruity_with_fewer_cores_has_no_more_workers_than_cores(unpacked: Place) -> None:
    archives = [DEFAULT_ARCHIVE, *(limit_workers(unpacked, most).archive for most in (1, 8))]

    before, one, eight = (yaml.safe_load(zipfile.ZipFile(path).read("model-config.yaml")) for path in archives)
    assert one == {**before, "minWorkers": 1, "maxWorkers": 1}
    assert eight == before


def test_a_phones_photo_has_megabytes() -> None:
    assert all(len(photo.body) > 1_500_000 for photo in make_photos()[PHONE])


def test_the_default_archive_gives_a_picture_the_same_label_in_every_size(unpacked: Place) -> None:
    photos = unpacked.photos

    assert [photo.label for photo in photos[MIDDLE]] == ["espresso", "not food"]
    assert [photo.label for photo in photos[MIX]] == ["espresso"] * 3 + ["not food"] * 3


def test_the_ceiling_counts_the_photos_of_all_cores(unpacked: Place) -> None:
    contender = Contender("x", CEILING, "{bin}/python -m benchmarks.ceiling --batch 2")

    trial = Entry(contender, unpacked, 2).measure(0, TINY)

    assert trial.failure is None
    assert [result.name for result in trial.results] == [CAPACITY.name, PHONE_CLIENT.name]
    assert all(result.photos_per_s > 0 and result.cpu_ms_per_photo for result in trial.results)
