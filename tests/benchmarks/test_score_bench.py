import os
from pathlib import Path

import pytest

from benchmarks import score_bench
from benchmarks.score_bench import ScoreRun, run_score, write_repeated
from benchmarks.server_process import ServerError
from scoring.destination import PART_PHOTOS
from scoring.photo_listing import list_photos
from serving.model_store import DEFAULT_ARCHIVE
from tests.pictures import draw_waves, encode


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.jpg" for name in ("a", "b, c")]
    for path in paths:
        path.write_bytes(encode(draw_waves(96, 64), "JPEG"))
    return paths


def test_a_manifest_names_the_photos_again_and_again(photos: list[Path], tmp_path: Path) -> None:
    manifest = write_repeated(photos, 5, tmp_path / "list.csv")

    assert [place.name for place in list_photos(str(manifest))] == [str(photos[number % 2]) for number in range(5)]


@pytest.mark.slow
def test_the_ceiling_of_scoring_is_that_of_the_archives_handler(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_bench, "_CEILING_S", 1.0)

    rate = score_bench.measure_ceiling(DEFAULT_ARCHIVE, photos, tmp_path)

    assert rate > 1


@pytest.mark.slow
def test_a_run_is_measured_with_its_photos_and_the_memory_of_all_its_processes(
    photos: list[Path], tmp_path: Path
) -> None:
    manifest = write_repeated(photos, 300, tmp_path / "list.csv")

    run = run_score(DEFAULT_ARCHIVE, manifest, tmp_path / "scores", 2, 200, with_memory=True)

    assert run.num_photos == 300
    assert run.photos_per_s > 0
    # Ray's processes alone have more than 200 MB.
    assert 200 < run.max_pss_mb < 8_000


def test_a_run_that_fails_is_not_a_measurement(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"ended with code 3; .*has no photo"):
        run_score(DEFAULT_ARCHIVE, write_repeated([], 0, tmp_path / "list.csv"), tmp_path / "scores", 1, 60)


def test_each_actor_gets_several_parts_on_a_machine_with_many_cores(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[tuple[int, int]] = []

    def run(archive: Path, manifest: Path, destination: Path, num_actors: int, max_s: float) -> ScoreRun:
        listed.append((num_actors, manifest.read_text().count("\n") - 1))
        return ScoreRun(num_photos=listed[-1][1], wall_s=2.0, photos_per_s=50.0 * num_actors, max_pss_mb=0.0)

    monkeypatch.setattr(score_bench, "run_score", run)
    monkeypatch.setattr(score_bench, "measure_ceiling", lambda *_: 2_000.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(32))

    table = score_bench.measure_rates(DEFAULT_ARCHIVE, photos, tmp_path)

    assert min(count / num_actors for num_actors, count in listed) > 10 * PART_PHOTOS
    assert "| median |  |  |  | 0.80 | 32.00 |  |" in table
