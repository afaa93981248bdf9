from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from tests.training.tiny_runs import CONF, tiny_config
from training.config import (
    Config,
    ConfigError,
    convert_config,
    format_config,
    format_override,
    read_config,
)

GROUPS = ("augment", "data", "evaluation", "experiment", "network", "recipe", "tracker", "trainer")


def compose_config(*overrides: str) -> Config:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return read_config(compose("train", list(overrides)))


@pytest.mark.parametrize(
    "choice", [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
)
def test_every_shipped_choice_gives_a_valid_configuration_that_reads_back_equal(choice: str) -> None:
    source = () if choice.startswith("data=") and choice != "data=folder" else ("data.source=photos",)

    config = compose_config(choice, *source)

    assert convert_config(yaml.safe_load(format_config(config))) == config


def test_names_of_folders_may_hold_characters_special_to_hydra() -> None:
    folder = 'Küche (neu), 1=2 "x" [a] it\'s $HOME'

    config = compose_config(format_override("data.source", folder))

    assert config.data.source == folder


def test_a_missing_source_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.source"):
        compose_config()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.batch=0", r"Expected `int` >= 1 - at `\$\.recipe\.batch`; it is 0"),
        ("recipe.probe_zooms=[1.0,2.0]", r"at `\$\.recipe\.probe_zooms\[1\]`; it is \[1\.0, 2\.0\]"),
        ("network.size=many", r"at `\$\.network\.size`; it is 'many'"),
        ("recipe.method=magic", r"'magic' - at `\$\.recipe\.method`"),
        ("trainer.accelerator=gpuu", r"'gpuu' - at `\$\.trainer\.accelerator`"),
        ("+recipe.epoch=3", r"unknown field `epoch` - at `\$\.recipe`"),
        ("+extra=3", "unknown field `extra`"),
        ("~recipe.lr", r"missing required field `lr` - at `\$\.recipe`"),
        ("recipe.freeze_epochs=2", r"recipe\.freeze_epochs is 2"),
        ("recipe.freeze_norms=true", r"recipe\.freeze_norms=false"),
        ("experiment=quick trainer.devices=2", r"trainer\.devices is 2"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(tmp_path, tmp_path, *override.split())


@pytest.mark.parametrize(("epochs", "warmup", "limited"), [(1, 1, 0.5), (2, 5, 1.0), (10, 1, 1.0)])
def test_the_warm_up_takes_at_most_half_of_the_epochs(epochs: int, warmup: int, limited: float, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path, f"recipe.epochs={epochs}", f"recipe.warmup_epochs={warmup}")

    assert config.recipe.warmup_epochs == limited


@pytest.mark.parametrize(("trainer", "precision"), [("cpu", "32-true"), ("gpu", "bf16-mixed")])
def test_full_training_takes_the_precision_that_is_fast_on_its_hardware(trainer: str, precision: str) -> None:
    config = compose_config("experiment=full", f"trainer={trainer}", "data.source=photos")

    assert config.trainer.precision == precision
