"""The types of a training run's configuration, checked once; `training/conf/` has its values and their meaning."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Positive = Annotated[int, msgspec.Meta(ge=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Side = Annotated[int, msgspec.Meta(ge=16, le=2048)]
Rate = Annotated[float, msgspec.Meta(ge=0.0)]


class ConfigError(Exception):
    """A value of the configuration is missing, unknown or out of its range."""


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class DataConfig(_Node, frozen=True):
    source: str
    cache: str
    seed: int
    val_share: Share
    test: str | None = None
    corrections: str | None = None


class NetworkConfig(_Node, frozen=True):
    architecture: str
    weights: str
    size: Side | None
    crop: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None
    dropout: Share
    drop_path: Share


class AugmentConfig(_Node, frozen=True):
    min_area: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    flip: Share
    rand_augment_ops: Count
    rand_augment_magnitude: Annotated[int, msgspec.Meta(ge=0, le=30)]
    erase: Share
    mixup: Rate
    cutmix: Rate
    mix_share: Share
    rotation: Annotated[float, msgspec.Meta(ge=0.0, le=180.0)] = 0.0
    colour: Share = 0.0


class RecipeConfig(_Node, frozen=True):
    method: Literal["probe", "finetune"]
    probe_zooms: Annotated[tuple[Annotated[float, msgspec.Meta(gt=0.0, le=1.0)], ...], msgspec.Meta(min_length=1)]
    classifier: Literal["new", "probe"]
    epochs: Positive
    freeze_epochs: Count
    freeze_norms: bool
    frozen_stages: Count
    refit_epochs: Count
    refit_lr_share: Share
    batch: Positive
    start_size: Side | None
    train_size: Side | None
    lr: Annotated[float, msgspec.Meta(gt=0.0)]
    layer_decay: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    weight_decay: Rate
    warmup_epochs: Rate
    label_smoothing: Share
    class_weighting: bool
    clip_norm: Rate
    ema_decay: Share
    patience: Count
    keep: Literal["last", "best"]
    teacher: str | None = None
    teacher_temperature: Annotated[float, msgspec.Meta(gt=0.0)] = 1.0


class TrainerConfig(_Node, frozen=True):
    accelerator: Literal["auto", "cpu", "cuda", "gpu"]
    devices: Positive
    nodes: Positive
    strategy: str
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    channels_last: bool
    workers: Count
    threads: Positive
    timeout_minutes: Annotated[float, msgspec.Meta(gt=0.0)] = 30.0


class EvaluationConfig(_Node, frozen=True):
    precision: Share
    robustness_photos: Count
    calibration_photos: Count = 0
    gate_photos: Count = 0


class TrackerConfig(_Node, frozen=True):
    kind: Literal["none", "csv", "tensorboard", "wandb"]
    project: str = "fruity"


class Config(_Node, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]*$")]
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    runs: str
    logs: str
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    resume: bool
    data: DataConfig
    network: NetworkConfig
    augment: AugmentConfig
    recipe: RecipeConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    tracker: TrackerConfig


def read_config(node: DictConfig) -> Config:
    """Return *node*, resolved and checked; raise `ConfigError` with what is wrong and where."""
    missing = sorted(OmegaConf.missing_keys(node))
    if missing:
        raise ConfigError(f"configuration: {missing[0]} has no value; give it one, as in {missing[0]}=…")
    try:
        return convert_config(OmegaConf.to_container(node, resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError(f"configuration: {str(error).splitlines()[0]}") from error


def format_override(key: str, value: object) -> str:
    """Return `key=value` so that Hydra takes *value* literally, with any characters."""
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + ("\\" if found[2] else "") + found[2], str(value))
    return f'{key}="{escaped}"'


def format_config(config: Config) -> str:
    """Return *config* as YAML that trains the same run again."""
    text: str = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False)
    return text


def convert_config(values: Any) -> Config:
    """Return plain *values* as checked configuration; raise `ConfigError`."""
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration: {error}; {_describe_value(values, str(error))}") from error
    _check_together(config)
    # A run of one epoch needs half of it to learn.
    warmup_epochs = min(config.recipe.warmup_epochs, config.recipe.epochs / 2)
    return msgspec.structs.replace(config, recipe=msgspec.structs.replace(config.recipe, warmup_epochs=warmup_epochs))


def _check_together(config: Config) -> None:
    """Raise `ConfigError` if values exclude each other that are allowed one by one."""
    recipe, trainer = config.recipe, config.trainer
    probe = recipe.method == "probe"
    if probe and (recipe.refit_epochs or trainer.devices * trainer.nodes > 1):
        raise ConfigError(
            f"configuration: a probe runs in one process and has no epochs, but trainer.devices is {trainer.devices}, "
            f"trainer.nodes {trainer.nodes} and recipe.refit_epochs {recipe.refit_epochs}; set them to 1, 1 and 0, or "
            "recipe.method=finetune"
        )
    if probe and recipe.teacher is not None:
        raise ConfigError("configuration: a probe learns labels, not recipe.teacher; set recipe.method=finetune")
    if not probe and recipe.freeze_epochs >= recipe.epochs:
        raise ConfigError(
            f"configuration: recipe.freeze_epochs is {recipe.freeze_epochs}, it must be less than recipe.epochs, which "
            f"is {recipe.epochs}"
        )
    if not probe and recipe.freeze_norms and config.network.weights == "random":
        raise ConfigError(
            "configuration: recipe.freeze_norms keeps the batch norms' pretrained statistics, but network.weights is "
            "random and has none; set recipe.freeze_norms=false"
        )


def _describe_value(values: Any, message: str) -> str:
    """Return the value seen at the place that msgspec's *message* names (`… at `$.recipe.lr``), of a list all of it."""
    place = message.rpartition("`$.")[2].rstrip("`").partition("[")[0] if "`$." in message else ""
    for key in filter(None, place.split(".")):
        values = values.get(key) if isinstance(values, Mapping) else None
    return f"it is {values!r}" if place and not isinstance(values, Mapping) else "see training/conf for what is allowed"
