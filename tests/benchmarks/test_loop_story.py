import csv
from collections import Counter
from pathlib import Path

from benchmarks.grocery import GroceryPhoto
from benchmarks.loop_photos import choose_photos, write_corrections, write_data
from benchmarks.loop_stream import Asked, ask_all, draw_story, measure, send_photos, wait_for
from tests.http_server import Request, serve_http


def write_grocery(folder: Path, labels: int = 20) -> Path:
    """Write a data set of *labels* with 29 train and 3 val photos each; each photo has its own bytes."""
    rows = []
    for label in (f"label {number:02}" for number in range(labels)):
        for number in range(32):
            split = "train" if number < 29 else "val"
            (folder / f"{label}-{number}.jpg").write_bytes(f"{label} {number}".encode())
            rows.append((f"{label}-{number}.jpg", label, "Fruit", split))
    with (folder / "labels.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("file", "label", "coarse_label", "split"), *rows])
    return folder


def answer(request: Request) -> tuple[int, object]:
    """Label each photo as its bytes say."""
    labels = [{"label": request.body.decode().rpartition(" ")[0], "probability": 1.0}]
    return 200, {"version": "1.0.0", "predictions": [{"labels": labels}]}


def test_no_photo_is_both_learned_and_measured(tmp_path: Path) -> None:
    photos = choose_photos(write_grocery(tmp_path))

    sets = [photos.learned, photos.known, photos.corrected, photos.measured, photos.measured_val]
    assert [len(some) for some in sets] == [260, 60, 100, 190, 30]
    assert len({photo.path for some in sets for photo in some}) == 640
    for some in sets[:2]:
        assert {photo.label for photo in some}.isdisjoint(photos.new_labels)
    for some in sets[2:]:
        assert {photo.label for photo in some} == set(photos.new_labels)
    assert choose_photos(tmp_path) == photos


def test_the_old_world_has_each_label_as_often_as_training(tmp_path: Path) -> None:
    photos = choose_photos(write_grocery(tmp_path))

    assert Counter(photo.label for photo in photos.world) == Counter(photo.label for photo in photos.learned)
    assert set(photos.world) == set(photos.known)


def test_the_first_version_gets_the_other_labels_and_people_correct_the_new_ones(tmp_path: Path) -> None:
    photos = choose_photos(write_grocery(tmp_path))

    write_data(photos, tmp_path / "data.csv")
    said = write_corrections(tmp_path / "inbox", [(photo, "wrong") for photo in photos.corrected], "1.0.0")

    with (tmp_path / "data.csv").open() as lines:
        assert [row["split"] for row in csv.DictReader(lines)] == ["train"] * 260 + ["val"] * 30
    with said.open() as lines:
        rows = list(csv.DictReader(lines))
    assert {(row["version"], row["answer"]) for row in rows} == {("1.0.0", "wrong")}
    assert all((said.parent / row["photo"]).is_file() for row in rows)


def test_a_stream_records_what_a_client_sees_and_draws_it(tmp_path: Path) -> None:
    photos = choose_photos(write_grocery(tmp_path))
    asked: list[Asked] = []

    with serve_http(answer) as url:
        pools = [photos.known]
        with send_photos(url, pools, asked):
            wait_for(asked, 12)
            pools.append(photos.measured)
            wait_for(asked, 12)
        assert measure(url, photos.measured_val) == 1.0
        assert ask_all(url, photos.corrected[:2]) == [(photo, photo.label) for photo in photos.corrected[:2]]
    draw_story(asked, photos.new_labels, {}, tmp_path / "loop.svg")

    assert {(one.version, one.is_right, one.confidence, one.error) for one in asked} == {("1.0.0", True, 1.0, "")}
    assert {one.photo.label in photos.new_labels for one in asked[:12]} == {False}
    assert {one.photo.label in photos.new_labels for one in asked[12:]} == {True, False}
    assert "the 10 new labels" in (tmp_path / "loop.svg").read_text()


def test_a_failed_request_is_counted_as_one(tmp_path: Path) -> None:
    photo = GroceryPhoto(tmp_path / "a.jpg", "apple", "Apple")
    photo.path.write_bytes(b"apple 1")
    asked: list[Asked] = []

    with serve_http(lambda request: None) as url, send_photos(url, [[photo]], asked):
        wait_for(asked, 1)

    assert (asked[0].error, asked[0].is_right) == ("RemoteProtocolError", False)
