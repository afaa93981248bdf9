import sys
from pathlib import Path

import pytest
import yaml

from handler.spec import read_spec
from training.default_model import CONFIG, DefaultModelError, compose_spec, main


def test_each_label_sums_its_synsets_and_the_other_one_all_the_rest() -> None:
    config = yaml.safe_load(CONFIG.read_text()) | {"labels": {"corn": ["n03", "n02"], "fig": ["n04"]}}

    spec = compose_spec(config, ["n01", "n02", "n03", "n04"])

    assert spec.labels == ("corn", "fig", "not food")
    assert spec.label_outputs == ((2, 1), (3,), (0,))
    how = spec.preprocessing
    assert (how.size, how.crop, how.interpolation, how.mean, how.std) == (224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"corn": ["n01", "n99"]}, r"unknown.*\['n99'\].*repeated.*\[\]"),
        ({"corn": ["n01"], "fig": ["n01"]}, r"unknown.*\[\].*repeated.*\['n01'\]"),
    ],
)
def test_unknown_and_repeated_synsets_are_named(labels: dict[str, list[str]], message: str) -> None:
    config = yaml.safe_load(CONFIG.read_text()) | {"labels": labels}

    with pytest.raises(DefaultModelError, match=message):
        compose_spec(config, ["n01", "n02"])


def test_the_command_writes_a_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "default"
    monkeypatch.setattr(sys, "argv", ["default_model", "--run", str(run)])

    main()

    spec = read_spec(run)
    assert spec.labels[-1] == "not food"
    assert {"banana", "espresso", "granny smith apple", "pizza"} < set(spec.labels)
    assert {path.name for path in run.iterdir()} == {"config.yaml", "metrics.json", "model.safetensors", "spec.json"}
    assert f"{len(spec.labels)} labels" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r" exists "):
        main()
