import csv
import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from monitoring.correction import Correction
from monitoring.correction_folder import read_corrections
from monitoring.loop_commands import LoopCommands
from monitoring.loop_steps import Loop, find_reason, next_version, print_plan, run_loop
from monitoring.loop_thresholds import LoopError, LoopThresholds, read_loop_thresholds
from monitoring.version_comparison import Accuracies, Comparison, check_gain, compare_versions
from serving.model_store import DEFAULT_ARCHIVE, ROOT
from tests.end_to_end.versions import rotate_labels, write_version
from tests.monitoring.corrected import NOON, correction_of, write_folder
from tests.monitoring.verbs import EndsWith
from tests.run_folders import write_run_folder
from tests.training.pictures import photo_bytes, write_image_folder

RULES = LoopThresholds(min_corrections=20, min_held_out=2, min_gain=0.05, max_loss=0.01)


def write_corrections(folder: Path, count: int) -> Path:
    photos = [b"%d" % number for number in range(count)]
    return write_folder(folder, *((correction_of(photo), photo) for photo in photos))


def make_loop(folder: Path, corrections: Path, drift: int | None = None) -> Loop:
    log = None if drift is None else folder / "log"
    codes = {"drift": drift or 0, "train": 1, "build": 1}
    commands = EndsWith(data="photos", corrections=corrections, log=log, experiment="quick", codes=codes)
    return Loop(commands=commands, thresholds=RULES, serving=DEFAULT_ARCHIVE, confirm=refuse, folder=folder / "loop")


def write_registry(folder: Path, *versions: str) -> Path:
    """Write what shows that a registry holds *versions*."""
    for version in versions:
        entry = folder / "fruity" / f"{version}.json"
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text("{}")
    return folder


def refuse(question: str) -> None:
    raise LoopError(f"a person said no: {question}")


def read_record(loop: Loop) -> list[dict[str, object]]:
    return [json.loads(line) for line in (loop.folder / "loops.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("drift", "count", "reason"),
    [
        (None, 30, "enough corrections: 30 of 30 corrections are new"),
        (0, 30, "enough corrections: 30 of 30 corrections are new"),
        (2, 30, "enough corrections: 30 of 30 corrections are new"),
        (3, 19, "drift: 19 of 19 corrections are new"),
    ],
)
def test_drift_or_enough_corrections_start_a_loop(drift: int | None, count: int, reason: str, tmp_path: Path) -> None:
    folder = write_corrections(tmp_path / "corrections", count)

    assert find_reason(make_loop(tmp_path, folder, drift), read_corrections(folder)) == reason


@pytest.mark.parametrize(
    ("drift", "count", "reason"),
    [
        (None, 19, r"no prediction log, and .* has 19 new corrections, 20 start a loop"),
        (0, 0, "no drift, and .* has 0 new corrections"),
        (2, 19, "drift cannot be judged, and .* has 19 new corrections"),
        (3, 0, "drift, but .* has no new correction"),
        (3, 1, "0 of 1 corrections are held out, 2 are needed"),
        (1, 30, "monitoring.drift ended with 1"),
    ],
)
def test_a_loop_stops_with_a_reason(drift: int | None, count: int, reason: str, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, write_corrections(tmp_path / "corrections", count), drift)

    with pytest.raises(LoopError, match=reason):
        run_loop(loop)

    assert [(line["outcome"], line["from"]) for line in read_record(loop)] == [("stopped", "1.0.0")]


@pytest.mark.parametrize(("version", "new"), [("1.0.0", 20), ("0.9.0", 20), ("1.0.1", 50), ("1.10.0", 50)])
def test_corrections_that_the_serving_version_learned_from_are_not_new(version: str, new: int, tmp_path: Path) -> None:
    loop = make_loop(tmp_path, write_corrections(tmp_path / "corrections", 30))
    corrections: list[Correction] = [
        *read_corrections(loop.commands.corrections),
        *(correction_of(b"later %d" % number, time=NOON + timedelta(hours=1)) for number in range(20)),
    ]
    loop.folder.mkdir()
    lines = [{"outcome": "done", "until": NOON, "to": version}, {"outcome": "stopped", "reason": "a person said no"}]
    # The last one was cut off by a full disk.
    written = [*(msgspec.json.encode(line) for line in lines), b'{"outcome": "do']
    (loop.folder / "loops.jsonl").write_bytes(b"\n".join(written))

    assert find_reason(loop, corrections) == f"enough corrections: {new} of 50 corrections are new"


def test_a_person_may_say_no_before_anything_is_trained(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, write_corrections(tmp_path / "corrections", 30))

    with pytest.raises(LoopError, match=r"said no: train the version after 1\.0\.0 on photos and 30 corrections"):
        run_loop(loop)

    assert [path.name for path in loop.folder.iterdir()] == ["loops.jsonl"]


def test_a_loop_that_was_killed_after_training_goes_on_from_the_finished_run_to_a_version_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    write_image_folder(tmp_path / "photos", {"apple": 3, "leek": 3})
    folder = write_corrections(tmp_path / "corrections", 30)
    write_manifest(folder / "labels.csv", [("photos/absent.jpg", "leek", "test")])
    photo = folder / "photos" / "absent.jpg"
    photo.write_bytes(photo_bytes("leek", 9))
    registry = write_registry(tmp_path / "registry", "2.0.0", "1.0.0")
    loop = dataclasses.replace(make_loop(tmp_path, folder), confirm=lambda question: None, registry=str(registry))
    with pytest.raises(LoopError, match="training ended with 1"):
        run_loop(loop)
    write_run_folder(tmp_path / "runs" / str(read_record(loop)[0]["run"]))

    with pytest.raises(LoopError, match="building the archive ended with 1"):
        run_loop(loop)

    assert [line["run"] for line in read_record(loop)] == [read_record(loop)[0]["run"]] * 2
    assert [path.read_text() for path in loop.folder.glob("*/version")] == ["3.0.0"]
    assert [list(line["steps"]) for line in read_record(loop)] == [  # type: ignore[call-overload]
        ["reason", "data", "train"],
        ["reason", "data", "train", "archive"],
    ]


@pytest.mark.parametrize(
    ("new", "taken", "version"),
    [
        (("apple", "leek"), [], "2.1.4"),
        (("apple", "leek", "plum"), [], "2.2.0"),
        (("apple", "plum"), [], "3.0.0"),
        (("apple", "leek"), ["2.1.4", "2.1.5", "2.1.7"], "2.1.6"),
        (("apple", "leek", "plum"), ["2.2.0"], "2.3.0"),
    ],
)
def test_the_next_version_says_what_happens_to_the_labels(new: tuple[str, ...], taken: list[str], version: str) -> None:
    assert next_version("2.1.3", ("apple", "leek"), new, taken) == version


@pytest.mark.parametrize(
    ("known", "corrected"), [((0.90, 0.89), (0.10, 0.15)), ((0.90, 0.95), (0.0, 0.9)), ((0.86, 0.85), (0.5, 0.55))]
)
def test_a_better_version_passes(known: tuple[float, float], corrected: tuple[float, float]) -> None:
    check_gain(Comparison(Accuracies(300, *known), Accuracies(20, *corrected)), RULES)


@pytest.mark.parametrize(
    ("known", "corrected", "reason"),
    [
        ((0.90, 0.90), (0.50, 0.54), "is not better: accuracy on held-out corrections is 0.500 before, 0.540 after"),
        ((0.90, 0.88), (0.0, 0.9), "loses what the old one knew: accuracy on the old photos is 0.900 before, 0.880"),
    ],
)
def test_a_version_that_is_not_better_is_refused(
    known: tuple[float, float], corrected: tuple[float, float], reason: str
) -> None:
    with pytest.raises(LoopError, match=reason):
        check_gain(Comparison(Accuracies(300, *known), Accuracies(20, *corrected)), RULES)


def write_manifest(path: Path, rows: list[tuple[str, str, str]]) -> Path:
    with path.open("w", newline="") as lines:
        csv.writer(lines).writerows([("file", "label", "split"), *rows])
    return path


def test_two_archives_label_the_same_photos(tmp_path: Path, coffee: bytes, cat: bytes) -> None:
    for name, photo in {"coffee.png": coffee, "cat.png": cat, "broken.png": b"", "again.png": coffee}.items():
        (tmp_path / name).write_bytes(photo)
    rows = [("coffee.png", "espresso", "test"), ("broken.png", "espresso", "test"), ("cat.png", "unheard of", "test")]
    data = write_manifest(tmp_path / "data.csv", [*rows, ("cat.png", "espresso", "val"), ("cat.png", "pizza", "train")])
    held_out = write_manifest(tmp_path / "labels.csv", [("again.png", "ESPRESSO", "test"), ("cat.png", "x", "train")])
    worse = write_version(tmp_path, "1.0.1", {"spec.json": rotate_labels})

    comparison = compare_versions(DEFAULT_ARCHIVE, worse, data, held_out)

    assert comparison == (Accuracies(2, 0.5, 0.0), Accuracies(1, 1.0, 0.0))


def test_a_version_that_has_learned_from_val_gets_the_figure_from_before(tmp_path: Path, coffee: bytes) -> None:
    def record(spec: bytes) -> bytes:
        return json.dumps(json.loads(spec) | {"metrics": {"val": {"top1": 0.8, "photos": 1.0}}}).encode()

    (tmp_path / "coffee.png").write_bytes(coffee)
    data = write_manifest(tmp_path / "data.csv", [("coffee.png", "espresso", "val")])
    held_out = write_manifest(tmp_path / "labels.csv", [("coffee.png", "espresso", "test")])
    learned = write_version(tmp_path, "1.0.1", {"spec.json": record})

    comparison = compare_versions(DEFAULT_ARCHIVE, learned, data, held_out)

    assert comparison == (Accuracies(1, 1.0, 0.8), Accuracies(1, 1.0, 1.0))


def test_the_thresholds_are_read_and_a_wrong_value_is_named(tmp_path: Path) -> None:
    thresholds = read_loop_thresholds()
    wrong = tmp_path / "mine.yaml"
    wrong.write_text("min_corrections: 50\nmin_held_out: 10\nmin_gain: 2\nmax_loss: 0.01\n")

    assert 0 < thresholds.min_gain < 1
    with pytest.raises(LoopError, match=r"mine\.yaml: .*<= 1.*min_gain"):
        read_loop_thresholds(wrong)


def test_a_dry_run_prints_the_verbs_in_order_and_starts_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = LoopCommands(data="my photos", corrections=tmp_path, log=tmp_path / "log", experiment="full")
    loop = Loop(commands=commands, thresholds=RULES, serving=DEFAULT_ARCHIVE, confirm=refuse, folder=tmp_path / "loop")

    print_plan(loop)

    verbs = [line.split()[3] for line in capsys.readouterr().out.splitlines() if line.startswith("$")]
    assert verbs == [
        "monitoring.drift",
        "dvc",
        "training.data.labels_csv",
        "training.train",
        "model_archive.build",
        "scripts.rollout",
    ]
    assert list(tmp_path.iterdir()) == []
