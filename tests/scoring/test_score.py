"""`make score` on Ray: its rows are the server's answers, also when it was killed; its errors are one sentence."""

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from benchmarks.grocery import GROCERY
from benchmarks.score_bench import kill_often, write_repeated
from scoring.destination import PART_PHOTOS
from scripts.score import main
from serving.model_store import DEFAULT_ARCHIVE, FINE_TUNED_ARCHIVE, edit_archive
from tests.end_to_end.server import run_server
from tests.pictures import draw_corners, draw_waves, encode
from tests.scoring.scored_rows import read_parquet_rows, read_rows

on_ray = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Score = Callable[..., Ended]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Score]:
    """Run the verb in this process, where Ray Data warns of its own settings."""

    def run_verb(source: Path, destination: Path, *options: str, archive: Path = DEFAULT_ARCHIVE) -> Ended:
        words = [str(source), str(destination), "--archive", str(archive), *options]
        monkeypatch.setattr(sys, "argv", ["score", *words])
        try:
            main()
        except SystemExit as error:
            return Ended(int(error.code or 0), *capfd.readouterr())
        return Ended(0, *capfd.readouterr())

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run_verb
    for number, handler in handlers.items():
        signal.signal(number, handler)


def ask(server_url: str, photo: bytes) -> dict[str, Any]:
    """Return what a row has of the server's answer to *photo*."""
    answer = httpx.post(f"{server_url}/predictions/fruity", content=photo, timeout=60).json()
    return answer["predictions"][0] if "predictions" in answer else {"error": answer}


def compare(row: dict[str, Any], entry: dict[str, Any]) -> None:
    """Assert that *row* says what the server's *entry* does; some CPUs round batches of another size differently."""
    for name in ("confident", "unfamiliar", "error"):
        assert row[name] == entry.get(name)
    (names, probabilities), expected = (split_labels(one.get("labels")) for one in (row, entry))
    assert (names[:1], sorted(names)) == (expected[0][:1], sorted(expected[0]))
    assert probabilities == pytest.approx(expected[1], abs=1e-5)
    assert row["unfamiliarity"] == pytest.approx(entry.get("unfamiliarity"), abs=2e-3)


def split_labels(labels: list[dict[str, Any]] | None) -> tuple[list[str], list[float]]:
    return [one["label"] for one in labels or []], [one["probability"] for one in labels or []]


@on_ray
@pytest.mark.slow
@pytest.mark.server
def test_rows_are_the_answers_of_the_server(score: Score, coffee: bytes, cat: bytes, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    contents = {
        "coffee.png": coffee,
        "cat.png": cat,
        "notes.txt": b"no image",
        "empty.jpg": b"",
        "cut.png": coffee[:999],
    }
    contents |= {f"{kind}.x": encode(draw_corners(), kind) for kind in ("JPEG", "WEBP", "AVIF", "HEIF", "TIFF")}
    contents["tiny.png"] = encode(draw_waves(8, 8))
    for name, content in contents.items():
        (photos / name).write_bytes(content)

    done = score(photos, tmp_path / "scores", "--format", "jsonl")

    assert done.code == 0, done.err
    rows = read_rows(tmp_path / "scores")
    assert [row["photo"] for row in rows] == sorted(contents)
    with run_server(tmp_path) as server:
        for row in rows:
            compare(row, ask(server.addresses.inference, contents[row["photo"]]))
    assert f"score: {len(contents)} photos, 4 of them errors" in done.out


@on_ray
@pytest.mark.slow
@pytest.mark.server
@pytest.mark.skipif(not GROCERY.exists(), reason="the Grocery Store photos are not at ../shared/data/grocery")
def test_rows_of_the_grocery_photos_are_the_answers_of_the_server(score: Score, tmp_path: Path) -> None:
    done = score(GROCERY / "val", tmp_path / "scores", archive=FINE_TUNED_ARCHIVE)

    assert done.code == 0, done.err
    rows = read_parquet_rows(tmp_path / "scores")
    assert [row["index"] for row in rows] == list(range(296))
    with run_server(tmp_path, FINE_TUNED_ARCHIVE) as server:
        for row in rows[::3]:
            photo = (GROCERY / "val" / row["photo"]).read_bytes()
            compare(row, ask(server.addresses.inference, photo))


def write_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    photos = [encode(draw_waves(64 + number, 64), "JPEG") for number in range(16)]
    for number in range(count):
        (folder / f"{number:05}.jpg").write_bytes(b"rubbish" if number % 100 == 99 else photos[number % 16])
    return folder


@pytest.mark.slow
def test_killed_at_random_moments_and_started_again_no_photo_is_lost_or_there_twice(tmp_path: Path) -> None:
    photos = sorted(write_photos(tmp_path / "photos", 400).iterdir())
    manifest = write_repeated(photos, 30 * PART_PHOTOS + 7, tmp_path / "list.csv")

    missing, twice = kill_often(DEFAULT_ARCHIVE, manifest, tmp_path / "scores", kills=3, max_s=200, seed=2)

    assert (missing, twice) == (0, 0)
    assert sum(row["error"] is not None for row in read_parquet_rows(tmp_path / "scores")) == 38


@on_ray
@pytest.mark.slow
def test_an_actor_that_dies_is_started_again_and_ends_the_run_if_it_always_dies(score: Score, tmp_path: Path) -> None:
    killing = b"""
class FruityHandler(FruityHandler):
    def handle(self, rows, context):
        if any(row["body"].startswith(b"KILL") for row in rows):
            os.kill(os.getpid(), 9)
        return super().handle(rows, context)
"""
    archive = edit_archive(
        DEFAULT_ARCHIVE, tmp_path / "fruity-1.0.0.mar", {"fruity_handler.py": lambda content: content + killing}
    )
    photos = write_photos(tmp_path / "photos", 2 * PART_PHOTOS)
    (photos / f"{2 * PART_PHOTOS - 1:05}.jpg").write_bytes(b"KILL")

    # One actor, which has written the first part when it dies of the second.
    done = score(photos, tmp_path / "scores", "--format", "jsonl", "--actors", "1", archive=archive)

    assert done.code == 5
    assert "score: an actor failed (" in done.err
    assert done.err.count("Traceback") == 0
    assert [row["index"] for row in read_rows(tmp_path / "scores")] == list(range(PART_PHOTOS))


@pytest.mark.parametrize(
    ("source", "destination", "code", "error"),
    [
        ("empty", "scores", 3, "empty has no photo; check its name"),
        ("missing", "scores", 3, "missing does not exist"),
        ("photos", "photos/scores", 4, "is inside the source"),
        ("photos", "other", 4, "other holds other files, as file.txt; name a new or empty folder"),
        ("photos", "other/file.txt/scores", 4, "cannot be written (Not a directory"),
    ],
)
def test_an_error_is_one_sentence_with_an_exit_code(
    score: Score, source: str, destination: str, code: int, error: str, tmp_path: Path
) -> None:
    for name in ("photos/a.jpg", "other/file.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").mkdir()

    done = score(tmp_path / source, tmp_path / destination)

    last = done.err.splitlines()[-1]
    assert (done.code, error in last, last.startswith("score: ")) == (code, True, True), done.err


def test_a_damaged_archive_is_refused_before_anything_is_written(score: Score, tmp_path: Path) -> None:
    archive = shutil.copy(DEFAULT_ARCHIVE, tmp_path / "fruity-1.0.0.mar")
    Path(archive).write_bytes(DEFAULT_ARCHIVE.read_bytes()[:-5000])

    done = score(tmp_path, tmp_path.with_name("scores"), archive=archive)

    assert (done.code, "is damaged" in done.err) == (2, True)
    assert not tmp_path.with_name("scores").exists()


def test_a_cluster_that_cannot_be_reached_is_named(
    score: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "photos", 1)
    monkeypatch.setenv("RAY_ADDRESS", "no-such-cluster:6379")

    done = score(tmp_path / "photos", tmp_path / "scores")

    assert done.code == 5
    assert "the cluster at no-such-cluster:6379 cannot be reached; check RAY_ADDRESS" in done.err.splitlines()[-1]
