"""The configuration of a training run, checked once; `training/conf/` holds the values."""

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
    """What `training.data.sources.load_photos` reads: a folder, a manifest, a name, a bucket or shards."""
    cache: str
    seed: int
    val_share: Share
    test: str | None = None
    """A second source whose photos are all evaluated as a test split, never trained on."""


class NetworkConfig(_Node, frozen=True):
    architecture: str
    weights: str
    """`auto`, `hub`, `package`, `random` or a file."""
    size: Side | None
    """Side of the input that is evaluated and served; None: the pretrained weights' own."""
    crop: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] | None
    dropout: Share
    drop_path: Share


class AugmentConfig(_Node, frozen=True):
    min_area: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    """Least share of the photo that a random crop keeps."""
    flip: Share
    rand_augment_ops: Count
    rand_augment_magnitude: Annotated[int, msgspec.Meta(ge=0, le=30)]
    erase: Share
    mixup: Rate
    """Alpha of mixup's beta distribution; 0 turns it off."""
    cutmix: Rate
    mix_share: Share
    """Share of the batches that are mixed."""


class RecipeConfig(_Node, frozen=True):
    method: Literal["probe", "finetune"]
    probe_zooms: Annotated[tuple[Annotated[float, msgspec.Meta(gt=0.0, le=1.0)], ...], msgspec.Meta(min_length=1)]
    """Shares of the served crop at which a probe sees each train photo, each time mirrored too."""
    epochs: Positive
    freeze_epochs: Count
    """Epochs at the start in which only the classifier learns."""
    refit_epochs: Count
    """Epochs at the end on train and val together, after val has been evaluated."""
    refit_lr_share: Share
    batch: Positive
    start_size: Side | None
    """Side of the training photos in the first epoch; grows to `train_size`."""
    train_size: Side | None
    """Side of the training photos in the last epoch; None: the side that is evaluated."""
    lr: Annotated[float, msgspec.Meta(gt=0.0)]
    layer_decay: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    """Each layer below the classifier learns this much slower than the one above."""
    weight_decay: Rate
    warmup_epochs: Rate
    label_smoothing: Share
    class_weighting: bool
    clip_norm: Rate
    """Largest norm of the gradient; 0 leaves it as it is."""
    ema_decay: Share
    """Decay of the weights' moving average, which is what is evaluated; 0 turns it off."""
    patience: Count
    """Epochs without a better val top-1 after which training stops; 0: never."""
    keep: Literal["last", "best"]


class TrainerConfig(_Node, frozen=True):
    accelerator: str
    devices: Positive
    nodes: Positive
    strategy: str
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    channels_last: bool
    workers: Count
    threads: Positive


class EvaluationConfig(_Node, frozen=True):
    precision: Share
    """Share of confident answers that shall be right: the threshold is chosen for it."""
    robustness_photos: Count
    """Photos that are evaluated once more under each corruption."""


class TrackerConfig(_Node, frozen=True):
    kind: Literal["none", "csv", "tensorboard", "wandb"]
    project: str = "fruity"


class Config(_Node, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]*$")]
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    runs: str
    """Folder of the finished runs."""
    logs: str
    """Folder of curves and checkpoints, a folder for each run's id."""
    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    resume: bool
    """Go on with the interrupted run *id*."""
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
    if config.recipe.method == "probe":
        _check_probe(config)
    else:
        _check_epochs(config.recipe)
    return config


def _check_probe(config: Config) -> None:
    if config.recipe.refit_epochs or config.trainer.devices * config.trainer.nodes > 1:
        raise ConfigError(
            f"configuration: a probe runs in one process and has no epochs, but trainer.devices is "
            f"{config.trainer.devices}, trainer.nodes {config.trainer.nodes} and recipe.refit_epochs "
            f"{config.recipe.refit_epochs}; set them to 1, 1 and 0, or recipe.method=finetune"
        )


def _check_epochs(recipe: RecipeConfig) -> None:
    if recipe.freeze_epochs >= recipe.epochs or recipe.warmup_epochs >= recipe.epochs:
        raise ConfigError(
            f"configuration: recipe.freeze_epochs is {recipe.freeze_epochs} and recipe.warmup_epochs "
            f"{recipe.warmup_epochs}, each must be less than recipe.epochs, which is {recipe.epochs}"
        )


def _describe_value(values: Any, message: str) -> str:
    """Return the value seen at the place that msgspec's *message* names (`… at `$.recipe.lr``)."""
    place = message.rpartition("`$.")[2].rstrip("`") if "`$." in message else ""
    for key in filter(None, place.split(".")):
        values = values.get(key) if isinstance(values, Mapping) else None
    return f"it is {values!r}" if place and not isinstance(values, Mapping) else "see training/conf for what is allowed"
