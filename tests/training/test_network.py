from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import safetensors.torch
import torch
from timm.layers import DropPath  # type: ignore[attr-defined]  # re-exported without __all__
from torch import nn

from handler.spec import Preprocessing
from training.config import NetworkConfig, RecipeConfig
from training.network import (
    NetworkError,
    build_network,
    default_preprocessing,
    freeze_layers,
    group_parameters,
    read_defaults,
    start_network,
)


def test_weights_of_a_package_recognise_what_they_were_trained_on() -> None:
    photo_HWC = pytest.importorskip("skimage.data").coffee()
    photo_BCHW = torch.from_numpy(photo_HWC.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    photo_BCHW = torch.nn.functional.interpolate(photo_BCHW, (224, 224), mode="bilinear", antialias=True)

    network = build_network("tf_efficientnet_lite0").eval()

    espresso = 967
    assert network(photo_BCHW).argmax() == espresso
    other = build_network("tf_efficientnet_lite0", num_classes=7).state_dict()
    assert other["classifier.weight"].shape == (7, 1280)
    assert torch.equal(other["conv_head.weight"], network.state_dict()["conv_head.weight"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_file_are_loaded_with_their_classifier_where_it_fits(suffix: str, tmp_path: Path) -> None:
    weights = build_network("test_efficientnet", "random", 3).state_dict()
    path = tmp_path / f"weights{suffix}"
    save = torch.save if suffix == ".pth" else safetensors.torch.save_file
    save(weights, path)

    same = build_network("test_efficientnet", str(path), 3).state_dict()
    wider = build_network("test_efficientnet", str(path), 5).state_dict()

    assert all(torch.equal(same[name], tensor) for name, tensor in weights.items())
    assert wider["classifier.weight"].shape[0] == 5
    assert torch.equal(wider["conv_stem.weight"], weights["conv_stem.weight"])


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("tf_efficientnet_lite9", "auto", "'tf_efficientnet_lite9'; did you mean tf_efficientnet_lite"),
        ("§", "auto", "'§'"),
        ("resnet18", "auto", r"resnet18.*tf_efficientnet_lite0"),
        ("resnet18", "package", r"resnet18.*network\.weights=hub"),
        ("test_efficientnet", "nowhere.pth", r"nowhere\.pth"),
        ("test_efficientnet", "broken.pth", "cannot be read"),
        ("test_efficientnet", "broken.safetensors", "cannot be read"),
        ("test_byobnet", "efficientnet.safetensors", "tensors do not match"),
        ("tf_efficientnet_lite0", "efficientnet.safetensors", "tensors do not match"),
    ],
)
def test_weights_that_cannot_be_loaded_are_refused(
    architecture: str, weights: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for name in ("broken.pth", "broken.safetensors"):
        Path(name).write_bytes(b"not weights")
    tensors = build_network("test_efficientnet", "random", 3).state_dict()
    safetensors.torch.save_file(tensors, "efficientnet.safetensors")

    with pytest.raises(NetworkError, match=message):
        build_network(architecture, weights, 3)


def test_stochastic_depth_is_set_where_the_network_has_it() -> None:
    deep = build_network("test_efficientnet", "random", 3, drop_path=0.1)
    plain = build_network("ghostnet_050", "random", 3, drop_path=0.1)

    assert any(isinstance(module, DropPath) for module in deep.modules())
    assert not any(isinstance(module, DropPath) for module in plain.modules())


def test_preprocessing_is_the_weights_own_unless_it_is_given() -> None:
    assert default_preprocessing("tf_efficientnet_lite2") == Preprocessing(
        size=260, crop=0.89, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    assert default_preprocessing("tf_efficientnet_lite2", size=288, crop=1.0).size == 288


def test_a_network_of_one_size_refuses_another() -> None:
    assert default_preprocessing("vit_tiny_patch16_224", size=224).size == 224

    with pytest.raises(NetworkError, match=r"vit_tiny_patch16_224.*224.*192"):
        read_defaults("vit_tiny_patch16_224", 192)


def test_lower_layers_learn_slower_and_biases_do_not_decay() -> None:
    network = build_network("test_efficientnet", "random", 3)

    groups = group_parameters(network, lr=1.0, layer_decay=0.5, weight_decay=0.1)

    parameters = dict(network.named_parameters())
    group_of = {id(parameter): group for group in groups for parameter in cast(list[nn.Parameter], group["params"])}
    assert group_of[id(parameters["classifier.weight"])]["lr"] == 1.0
    assert cast(float, group_of[id(parameters["conv_stem.weight"])]["lr"]) < 0.1
    assert group_of[id(parameters["classifier.bias"])]["weight_decay"] == 0.0
    assert group_of[id(parameters["classifier.weight"])]["weight_decay"] == 0.1


FIRST = ("conv_stem.", "bn1.", "blocks.0.")
BACKBONE = ("conv_stem.", "bn1.", "blocks.", "conv_head.", "bn2.")


@pytest.mark.parametrize(
    ("options", "kept_norms", "frozen"),
    [
        ({}, (), ()),
        ({"freeze_norms": True}, ("",), ()),
        ({"frozen_stages": 2}, FIRST, FIRST),
        ({"backbone": True}, ("",), BACKBONE),
    ],
)
def test_frozen_layers_keep_their_weights_and_frozen_norms_their_statistics(
    options: dict[str, Any], kept_norms: tuple[str, ...], frozen: tuple[str, ...]
) -> None:
    network = build_network("test_efficientnet", "random", 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items() if "running_mean" in name}

    freeze_layers(network, **options)
    network(torch.rand(4, 3, 64, 64)).sum().backward()

    names = {name for name, weight in network.named_parameters() if weight.grad is None}
    assert names == {name for name, _ in network.named_parameters() if name.startswith(frozen)}
    kept = {name for name, tensor in before.items() if torch.equal(network.state_dict()[name], tensor)}
    assert kept == {name for name in before if name.startswith(kept_norms)}


class Start:
    start_size, train_size = None, None


def start(architecture: str, size: int | None = None) -> nn.Module:
    values = {"architecture": architecture, "weights": "random", "size": size, "crop": None}
    config = msgspec.convert({**values, "dropout": 0.1, "drop_path": 0.0}, NetworkConfig)
    return start_network(config, cast(RecipeConfig, Start), 3)


@pytest.mark.parametrize("architecture", ["test_vit", "test_efficientnet", "test_convnext", "poolformer_s12"])
def test_a_network_of_any_family_takes_a_step_and_is_evaluated_by_what_it_learned(architecture: str) -> None:
    network = start(architecture)
    size = read_defaults(architecture, None).input_size[-1]

    freeze_layers(network)
    optimizer = torch.optim.AdamW(group_parameters(network, lr=1e-3, layer_decay=0.9, weight_decay=0.05))
    logits_BK = network(torch.rand(2, 3, size, size))
    logits_BK.sum().backward()
    optimizer.step()

    assert logits_BK.shape == (2, 3)
    assert all(parameter.grad is not None for parameter in network.get_classifier().parameters())  # type: ignore[operator]


@pytest.mark.parametrize(
    ("architecture", "size", "message"),
    [
        ("deit_tiny_distilled_patch16_224", None, "^deit_tiny_distilled_patch16_224 has 2 classifiers"),
        ("crossvit_9_240", None, "^crossvit_9_240 has 2 classifiers"),
        ("volo_d1_224", None, "^volo_d1_224 adds other logits to its classifier's"),
        ("inception_v3", 32, r"^inception_v3 .* of 32 pixels \([^\n]*set network\.size"),
    ],
)
def test_a_network_that_is_not_one_classifier_on_pooled_features_is_refused_before_training(
    architecture: str, size: int | None, message: str
) -> None:
    with pytest.raises(NetworkError, match=message):
        start(architecture, size)


def test_too_many_frozen_stages_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"recipe\.frozen_stages is 99"):
        freeze_layers(build_network("test_efficientnet", "random", 3), frozen_stages=99)
