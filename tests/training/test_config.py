from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hydra import compose, initialize_config_dir

from tests.training.tiny_runs import CONF, tiny_config
from training.config import (
    Config,
    ConfigError,
    convert_config,
    format_config,
    has_bfloat16,
    read_config,
    resolve_precision,
)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(
    "choice",
    [
        f"{group}={name}"
        for group in ("augment", "data", "evaluation", "experiment", "network", "recipe", "tracker", "trainer")
        for name in names(group)
    ],
)
def test_every_shipped_choice_gives_a_valid_configuration(choice: str) -> None:
    overrides = [choice] if choice.startswith("data=") and choice != "data=folder" else [choice, "data.source=photos"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = read_config(compose("train", overrides))

    assert config.name == "fruity"


def test_the_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path, "experiment=full")

    assert convert_config(yaml.safe_load(format_config(config))) == config


def test_a_missing_source_is_named() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigError, match=r"data\.source"):
        read_config(compose("train"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.batch=0", r"Expected `int` >= 1 - at `\$\.recipe\.batch`; it is 0"),
        ("network.size=many", r"at `\$\.network\.size`; it is 'many'"),
        ("recipe.method=magic", r"Invalid enum value 'magic' - at `\$\.recipe\.method`; it is 'magic'"),
        ("+recipe.epoch=3", r"unknown field `epoch` - at `\$\.recipe`; see training/conf"),
        ("+extra=3", "unknown field `extra`; see training/conf"),
        ("recipe.freeze_epochs=2", "recipe.freeze_epochs is 2 .* must be less than recipe.epochs, which is 2"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(tmp_path, tmp_path, override)


def test_a_missing_value_is_named(tmp_path: Path) -> None:
    values: dict[str, Any] = msgspec.to_builtins(tiny_config(tmp_path, tmp_path))
    del values["recipe"]["lr"]

    with pytest.raises(ConfigError, match=r"missing required field `lr` - at `\$\.recipe`"):
        convert_config(values)


def test_the_configuration_cannot_be_changed(tmp_path: Path) -> None:
    config: Config = tiny_config(tmp_path, tmp_path)

    with pytest.raises(AttributeError):
        config.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("capabilities", "multiplies"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"avx2": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_bfloat16_counts_only_where_the_cpu_multiplies_it(capabilities: dict[str, bool], multiplies: bool) -> None:
    assert has_bfloat16(capabilities) is multiplies


def test_auto_precision_is_resolved_before_a_run_is_written() -> None:
    on_gpu = {"trainer": {"accelerator": "gpu", "precision": "auto"}}
    chosen = {"trainer": {"accelerator": "cpu", "precision": "16-mixed"}}

    assert resolve_precision(on_gpu)["trainer"]["precision"] == "bf16-mixed"
    assert resolve_precision(chosen) == chosen


def test_a_run_says_what_auto_precision_was(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path, "trainer.precision=auto")

    assert config.trainer.precision in ("bf16-mixed", "32-true")
