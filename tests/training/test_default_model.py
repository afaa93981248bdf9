from pathlib import Path

import pytest
import yaml

from handler.spec import Provenance, Spec, read_spec
from tests.training.pictures import write_image_folder
from training.default_model import CONFIG, DefaultModelError, compose_spec, write_default_run
from training.evaluate_run import evaluate_run
from training.network import NetworkError, build_network, default_preprocessing
from training.run_folder import RunError, write_run


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


def test_the_run_is_written_once(tmp_path: Path) -> None:
    run = tmp_path / "default"

    write_default_run(run)

    spec = read_spec(run)
    assert spec.labels[-1] == "not food"
    assert {"banana", "espresso", "granny smith apple", "pizza"} < set(spec.labels)
    assert {path.name for path in run.iterdir()} == {"config.yaml", "metrics.json", "model.safetensors", "spec.json"}
    with pytest.raises(RunError, match=r" exists "):
        write_default_run(run)


def test_a_network_whose_outputs_are_summed_to_labels_is_not_evaluated_by_its_outputs(tmp_path: Path) -> None:
    food = write_image_folder(tmp_path / "food", {"apple": 1, "leek": 1})
    spec = Spec(
        name="fruity",
        architecture="test_efficientnet",
        num_outputs=3,
        labels=("apple", "leek"),
        label_outputs=((2,), (0, 1)),
        preprocessing=default_preprocessing("test_efficientnet"),
        threshold=0.5,
        provenance=Provenance(weights="random"),
    )
    weights = build_network("test_efficientnet", "random", 3).state_dict()
    run = write_run(tmp_path / "run", state_dict=weights, spec=spec, metrics={})

    with pytest.raises(NetworkError, match="are sums of the network's outputs"):
        evaluate_run(run, str(food), tmp_path / "cache")
