import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from handler.spec import read_spec
from training.default_model import CONFIG, DefaultModel, DefaultModelError, compose_spec, main

SYNSETS = ["n01", "n02", "n03", "n04"]


def configure(labels: dict[str, list[str]], **changes: Any) -> DefaultModel:
    fields: dict[str, Any] = {
        "name": "fruity",
        "architecture": "tf_efficientnet_lite0",
        "weights": "a package",
        "other": "not food",
        "threshold": 0.5,
        "labels": labels,
    }
    return DefaultModel(**{**fields, **changes})


def test_each_label_sums_its_synsets_and_the_other_label_the_rest() -> None:
    spec = compose_spec(configure({"corn": ["n03", "n02"], "fig": ["n04"]}), SYNSETS)

    assert spec.labels == ("corn", "fig", "not food")
    assert spec.label_outputs == ((2, 1), (3,), (0,))
    assert spec.num_outputs == 4


def test_the_spec_has_the_configurations_values_and_lite0s_preprocessing() -> None:
    spec = compose_spec(configure({"corn": ["n01"]}, threshold=0.75), SYNSETS)

    assert (spec.name, spec.threshold, spec.provenance.weights) == ("fruity", 0.75, "a package")
    how = spec.preprocessing
    assert (how.size, how.crop, how.interpolation, how.mean, how.std) == (224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"corn": ["n01", "n99"]}, r"unknown.*\['n99'\].*twice.*\[\]"),
        ({"corn": ["n01"], "fig": ["n01"]}, r"unknown.*\[\].*twice.*\['n01'\]"),
    ],
)
def test_unknown_and_repeated_synsets_are_named(labels: dict[str, list[str]], message: str) -> None:
    with pytest.raises(DefaultModelError, match=message):
        compose_spec(configure(labels), SYNSETS)


def test_the_configured_labels_are_readable_and_each_has_a_synset() -> None:
    config = msgspec.convert(yaml.safe_load(CONFIG.read_text()), DefaultModel)

    assert 55 <= len(config.labels) <= 85
    assert all(config.labels.values())
    assert {"banana", "espresso", "granny smith apple", "pizza"} <= set(config.labels)
    assert all(label == label.lower() for label in config.labels)


def test_the_command_writes_a_run_and_prints_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "default"
    monkeypatch.setattr(sys, "argv", ["default_model", "--run", str(run)])

    main()

    spec = read_spec(run)
    assert spec.labels[-1] == "not food"
    files = "config.yaml metrics.json model.safetensors spec.json"
    assert sorted(path.name for path in run.iterdir()) == files.split()
    assert f"{len(spec.labels)} labels" in capsys.readouterr().out


def test_a_run_that_exists_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["default_model", "--run", str(tmp_path)])

    with pytest.raises(SystemExit, match=r" exists "):
        main()
