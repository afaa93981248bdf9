import json
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import timm_loop
from benchmarks.bench_results import BenchError
from benchmarks.training_speed import RECIPE, link_by_label, main
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import tiny_config

TINY = ("network.architecture=test_efficientnet", "recipe.batch=4", "trainer.workers=1", "trainer.threads=1")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photo_set(tmp_path / "photos", {"train": 8, "val": 2})


def test_timm_gets_the_train_photos_one_folder_a_label(photos: Path, tmp_path: Path) -> None:
    folder = link_by_label(photos, tmp_path / "links")

    assert sorted(path.name for path in folder.iterdir()) == ["apple", "banana", "carrot", "leek"]
    linked = {path.resolve() for path in folder.glob("leek/*")}
    assert linked == {path.resolve() for path in (photos / "train" / "leek").iterdir()}
    assert link_by_label(photos / "train", folder) == photos / "train"


@pytest.mark.parametrize("text", ["name,label\na,b\n", "file,label,split\na,b,test\n", ""])
def test_a_manifest_without_train_photos_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text)

    with pytest.raises(BenchError, match=r"labels.csv"):
        link_by_label(tmp_path, tmp_path / "links")


def test_the_recipe_augments_no_more_than_timms_loop_does(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path, *RECIPE)
    augment, recipe = config.augment, config.recipe
    assert (augment.rand_augment_ops, augment.mixup, augment.cutmix) == (0, 0.0, 0.0)
    assert (recipe.method, recipe.freeze_norms) == ("finetune", False)


@pytest.mark.slow
def test_timms_loop_is_timed_by_the_batch(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(msgspec.yaml.encode(tiny_config(photos, tmp_path, *RECIPE, *TINY)))
    monkeypatch.setattr(sys, "argv", ["timm_loop", str(photos / "train"), str(config), str(tmp_path / "timm")])

    timm_loop.main()

    speed = json.loads((tmp_path / "timm" / "speed.json").read_text())
    assert speed.pop("batch") == 4
    assert min(speed["wait_s"], speed["step_s"]) > 0


@pytest.mark.slow
def test_the_command_measures_both_and_writes_the_ratio(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["", str(photos), "--rounds", "1", "--out", str(out), "--set", *TINY])

    main()

    figures = json.loads((out / "train.json").read_text())
    assert figures["recipe"]["recipe"]["batch"] == 4
    report = capsys.readouterr().out
    assert f"| {figures['fruity'][0] / figures['timm'][0]:.3f} |" in report
    assert report.strip() == (out / "train.md").read_text().strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere"], r"^bench-train: /nowhere .*DATA=photos"),
        pytest.param([".", "--set", "size=3"], r"^bench-train: training.train .*$", marks=pytest.mark.slow),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["training_speed", *arguments])

    with pytest.raises(SystemExit, match=message):
        main()
