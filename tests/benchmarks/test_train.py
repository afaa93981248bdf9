import json
import sys
from pathlib import Path

import pytest

from benchmarks.results import Machine
from benchmarks.timm_training import time_training
from benchmarks.train import TrainBenchError, TrainRun, format_report, link_by_label, main, parse_recipe, parse_speed
from benchmarks.train_recipe import NUM_TIMED, Recipe
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import tiny_config

TINY = '{"architecture": "test_efficientnet", "batch": 4, "workers": 1, "threads": 1}'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four labels, of each eight photos to train with and two in val, with a manifest."""
    return write_photo_set(tmp_path / "photos", {"train": 8, "val": 2})


def test_timm_gets_the_train_photos_one_folder_a_label(photos: Path, tmp_path: Path) -> None:
    folder = link_by_label(photos, tmp_path / "links")

    assert sorted(path.name for path in folder.iterdir()) == ["apple", "banana", "carrot", "leek"]
    linked = {path.resolve() for path in folder.glob("leek/*")}
    assert linked == {path.resolve() for path in (photos / "train" / "leek").iterdir()}


def test_a_folder_without_a_manifest_is_taken_as_it_is(tmp_path: Path) -> None:
    assert link_by_label(tmp_path, tmp_path / "links") == tmp_path


@pytest.mark.parametrize("text", ["name,label\na,b\n", "file,label,split\na,b,test\n", ""])
def test_a_manifest_without_train_photos_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text)

    with pytest.raises(TrainBenchError, match="needs the columns file and label, and rows whose split is train"):
        link_by_label(tmp_path, tmp_path / "links")


def test_both_sides_train_by_the_same_recipe(tmp_path: Path) -> None:
    recipe = Recipe()

    config = tiny_config(tmp_path, tmp_path, *recipe.overrides())

    given = {**vars(recipe), "architecture": config.network.architecture}
    for section in (config.network, config.augment, config.recipe, config.trainer):
        for name in given:
            assert getattr(section, name, given[name]) == given[name]
    assert (config.augment.rand_augment_ops, config.augment.mixup, config.recipe.method) == (0, 0.0, "finetune")


def test_the_speed_is_read_from_what_the_profile_prints() -> None:
    line = (
        "a batch of 32 waits 5 ms for the loader and takes\n1200 ms to learn from: 26.6 photos/s, limited by the step"
    )

    assert parse_speed(f"Epoch 0\n{line}\ntrace: logs/bench\n") == 26.6


def test_a_profile_without_a_speed_is_an_error() -> None:
    with pytest.raises(TrainBenchError, match="printed no speed: nothing"):
        parse_speed("nothing")


def test_the_report_gives_the_ratio_within_each_round() -> None:
    machine = Machine(cpu="Test CPU", cores=2, memory_gb=8, system="Linux")
    run = TrainRun(date="2026-01-02", machine=machine, recipe=vars(Recipe()), fruity=[22, 20, 30], timm=[20, 20, 20])

    report = format_report(run)

    assert "tf_efficientnet_lite0, batches of 32, bf16-mixed; medians of 3 interleaved rounds" in report
    assert "| fruity, photos/s | 22.0 (20.0 to 30.0) |" in report
    assert "| ratio of each round (reach: at least 1) | 1.100 (1.000 to 1.500) |" in report


@pytest.mark.slow
def test_timms_loop_trains_and_times_its_batches(photos: Path) -> None:
    waits_s, steps_s = time_training(photos / "train", parse_recipe(TINY))

    assert len(waits_s) == len(steps_s) == NUM_TIMED
    assert min(waits_s + steps_s) > 0


@pytest.mark.slow
def test_the_command_measures_both_and_writes_the_ratio(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["train", str(photos), "--rounds", "1", "--recipe", TINY, "--out", str(out)])

    main()

    figures = json.loads((out / "train.json").read_text())
    assert figures["fruity"][0] > 0
    assert figures["timm"][0] > 0
    assert capsys.readouterr().out.strip() == (out / "train.md").read_text().strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere"], "bench-train: /nowhere is no folder; give photos, as in make bench-train DATA=photos"),
        ([".", "--recipe", '{"size": 3}'], r"bench-train: --recipe is '.*', it must be a JSON object with fields of:"),
        ([".", "--recipe", "{"], "bench-train: --recipe is '{', it must be a JSON object"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *arguments])

    with pytest.raises(SystemExit, match=message):
        main()


def test_a_side_that_cannot_train_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train", str(tmp_path), "--rounds", "1"])

    with pytest.raises(SystemExit, match=r"^bench-train: training.profile could not train: .*$"):
        main()


def test_a_recipe_may_change_fields() -> None:
    assert parse_recipe(TINY).architecture == "test_efficientnet"
