from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from handler.spec import Preprocessing
from training.network import (
    NetworkError,
    build_network,
    check_sizes,
    default_preprocessing,
    group_parameters,
    train_backbone,
)


def test_weights_of_a_package_recognise_what_they_were_trained_on() -> None:
    photo_HWC = pytest.importorskip("skimage.data").coffee()
    photo_BCHW = torch.from_numpy(photo_HWC.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    photo_BCHW = torch.nn.functional.interpolate(photo_BCHW, (224, 224), mode="bilinear", antialias=True)

    network = build_network("tf_efficientnet_lite0").eval()

    espresso = 967
    assert network(photo_BCHW).argmax() == espresso


def test_another_number_of_labels_gets_a_new_classifier_on_the_same_backbone() -> None:
    whole = build_network("tf_efficientnet_lite0", "package").state_dict()
    network = build_network("tf_efficientnet_lite0", "package", 7)

    assert network.state_dict()["classifier.weight"].shape == (7, 1280)
    assert torch.equal(network.state_dict()["conv_head.weight"], whole["conv_head.weight"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_file_are_loaded_with_their_classifier_where_it_fits(suffix: str, tmp_path: Path) -> None:
    weights = build_network("test_efficientnet", "random", 3).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        safetensors.torch.save_file(weights, path)

    same = build_network("test_efficientnet", str(path), 3).state_dict()
    wider = build_network("test_efficientnet", str(path), 5).state_dict()

    assert all(torch.equal(same[name], tensor) for name, tensor in weights.items())
    assert wider["classifier.weight"].shape[0] == 5
    assert torch.equal(wider["conv_stem.weight"], weights["conv_stem.weight"])


def test_networks_without_stochastic_depth_can_be_built_too() -> None:
    network = build_network("test_vgg_tiny" if timm.is_model("test_vgg_tiny") else "vgg11", "random", 3, drop_path=0.1)

    assert network.get_classifier().out_features == 3  # type: ignore[operator]


def test_an_unknown_architecture_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(
        NetworkError, match="no architecture 'tf_efficientnet_lite9'; did you mean tf_efficientnet_lite"
    ):
        build_network("tf_efficientnet_lite9")
    with pytest.raises(NetworkError, match="§"):
        default_preprocessing("§")


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(NetworkError, match=r"resnet18.*tf_efficientnet_lite0"):
        build_network("resnet18", "auto")


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("resnet18", "package", r"resnet18.*network\.weights=hub"),
        ("test_efficientnet", "/nowhere.pth", r"/nowhere\.pth"),
    ],
)
def test_missing_weights_are_named(architecture: str, weights: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        build_network(architecture, weights)


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_a_broken_weights_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"not weights")

    with pytest.raises(NetworkError, match="cannot be read"):
        build_network("test_efficientnet", str(tmp_path / name))


@pytest.mark.parametrize(
    ("other", "message"),
    [("test_byobnet", "tensors do not match"), ("tf_efficientnet_lite0", "are of another architecture")],
)
def test_weights_of_another_architecture_are_refused(other: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(build_network(other, "random", 3).state_dict(), path)

    with pytest.raises(NetworkError, match=message):
        build_network("test_efficientnet", str(path), 3)


def test_preprocessing_is_the_weights_own_unless_it_is_given() -> None:
    assert default_preprocessing("tf_efficientnet_lite2") == Preprocessing(
        size=260, crop=0.89, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    assert default_preprocessing("tf_efficientnet_lite2", size=288, crop=1.0).size == 288


def test_a_network_of_one_size_refuses_another() -> None:
    check_sizes("vit_tiny_patch16_224", None, 224)

    with pytest.raises(NetworkError, match=r"vit_tiny_patch16_224.*224.*192"):
        check_sizes("vit_tiny_patch16_224", None, 224, 192)
    with pytest.raises(NetworkError, match="256"):
        default_preprocessing("vit_tiny_patch16_224", size=256)


def test_lower_layers_learn_slower_and_biases_do_not_decay() -> None:
    network = build_network("test_efficientnet", "random", 3)

    groups = group_parameters(network, lr=1.0, layer_decay=0.5, weight_decay=0.1)

    parameters = dict(network.named_parameters())
    group_of = {id(parameter): group for group in groups for parameter in cast(list[nn.Parameter], group["params"])}
    assert group_of[id(parameters["classifier.weight"])]["lr"] == 1.0
    assert cast(float, group_of[id(parameters["conv_stem.weight"])]["lr"]) < 0.1
    assert group_of[id(parameters["classifier.bias"])]["weight_decay"] == 0.0
    assert group_of[id(parameters["classifier.weight"])]["weight_decay"] == 0.1


def test_a_frozen_backbone_keeps_weights_and_running_statistics() -> None:
    network = build_network("test_efficientnet", "random", 3)
    train_backbone(network, learns=False)
    before = network.state_dict()["bn1.running_mean"].clone()

    network(torch.randn(2, 3, 64, 64)).sum().backward()

    learning = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    assert learning == ["classifier.weight", "classifier.bias"]
    assert torch.equal(network.state_dict()["bn1.running_mean"], before)


def test_a_backbone_that_learns_can_keep_its_running_statistics() -> None:
    network = build_network("test_efficientnet", "random", 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    photos_BCHW = torch.rand(4, 3, 64, 64)

    train_backbone(network, learns=True, freeze_norms=True)
    network(photos_BCHW).sum().backward()

    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if "running" in name)
    assert all(weight.grad is not None for weight in network.parameters())
    assert network.training


def test_the_first_stages_can_stay_as_they_are_while_the_rest_learns() -> None:
    network = build_network("test_efficientnet", "random", 3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items() if "running_mean" in name}

    train_backbone(network, learns=True, frozen_stages=2)
    network(torch.rand(4, 3, 64, 64)).sum().backward()

    frozen = {name for name, weight in network.named_parameters() if weight.grad is None}
    kept = {name for name, tensor in before.items() if torch.equal(network.state_dict()[name], tensor)}
    first = ("conv_stem.", "bn1.", "blocks.0.")
    assert frozen == {name for name, _ in network.named_parameters() if name.startswith(first)}
    assert kept == {name for name in before if name.startswith(first)}


def test_too_many_frozen_stages_are_refused() -> None:
    network = build_network("test_efficientnet", "random", 3)

    with pytest.raises(NetworkError, match=r"recipe\.frozen_stages is 99"):
        train_backbone(network, learns=True, frozen_stages=99)
