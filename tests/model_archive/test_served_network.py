from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from handler.spec import read_spec
from model_archive.build_error import BuildError
from model_archive.served_network import ServedNetwork, load_network
from tests.runs import write_tiny_run
from tests.specs import make_spec

PHOTOS_BHWC = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

# Feature maps as timm's networks keep them: BChw, BhwC and tokens. Heads of these are linear behind the mean.
LINEAR: list[tuple[str, dict[str, Any], int]] = [
    ("test_efficientnet", {}, 2),
    ("test_resnet", {}, 2),
    (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "img_size": 64, "window_size": 4},
        8,
    ),
    ("test_vit", {"img_size": 64, "global_pool": "avg", "fc_norm": False}, 4),
]


def serve(architecture: str, options: dict[str, Any], **changes: Any) -> ServedNetwork:
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=4, **options)
    return ServedNetwork(network, make_spec(**changes)).eval()


@pytest.mark.parametrize(("architecture", "options", "side"), LINEAR, ids=[name for name, _, _ in LINEAR])
@torch.no_grad()
def test_the_mean_of_a_linear_heads_map_is_the_photos_logits(
    architecture: str, options: dict[str, Any], side: int
) -> None:
    logits_BK, embeddings_BD, activations_BKhw = serve(architecture, options)(PHOTOS_BHWC)

    assert activations_BKhw.shape == (2, 4, side, side)
    assert embeddings_BD.shape[0] == 2
    torch.testing.assert_close(activations_BKhw.mean(dim=(2, 3)), logits_BK, rtol=1e-3, atol=1e-5)
    assert activations_BKhw.std() > 0


@pytest.mark.parametrize(
    ("architecture", "options", "side"), [("test_vit", {"img_size": 64}, 4), ("test_mambaout", {}, 2)]
)
@torch.no_grad()
def test_a_network_with_another_head_has_a_map_too(architecture: str, options: dict[str, Any], side: int) -> None:
    logits_BK, _, activations_BKhw = serve(architecture, options)(PHOTOS_BHWC)

    assert logits_BK.shape == (2, 4)
    assert activations_BKhw.shape == (2, 4, side, side)
    assert torch.isfinite(activations_BKhw).all()


@torch.no_grad()
def test_the_network_gets_what_timm_would_give_it() -> None:
    preprocessing = make_spec().preprocessing
    served = serve("test_efficientnet", {})
    inputs_BCHW = (PHOTOS_BHWC.permute(0, 3, 1, 2) / 255 - preprocessing.mean[0]) / preprocessing.std[0]

    logits_BK, embeddings_BD, _ = served(PHOTOS_BHWC)

    torch.testing.assert_close(logits_BK, served.network(inputs_BCHW), rtol=1e-4, atol=1e-5)
    expected_BD = served.network.forward_head(served.network.forward_features(inputs_BCHW), pre_logits=True)
    torch.testing.assert_close(embeddings_BD, expected_BD, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_labels_sum_the_probabilities_of_their_outputs() -> None:
    plain_BO = serve("test_efficientnet", {})(PHOTOS_BHWC)[0].softmax(dim=1)

    summed_BK = serve(
        "test_efficientnet", {}, labels=("apple", "rest"), num_outputs=4, label_outputs=((1,), (0, 2, 3))
    )(PHOTOS_BHWC)[0].softmax(dim=1)

    torch.testing.assert_close(summed_BK[:, 0], plain_BO[:, 1])
    torch.testing.assert_close(summed_BK[:, 1], plain_BO[:, [0, 2, 3]].sum(dim=1))


def test_a_runs_network_is_rebuilt_in_evaluation_mode_with_its_weights(tiny_run: Path) -> None:
    served = load_network(tiny_run, read_spec(tiny_run))

    assert not served.network.training
    assert served.network.get_parameter("classifier.weight").std().item() == pytest.approx(2.0, rel=0.1)


def no_weights(folder: Path) -> Path:
    return folder


def corrupt_weights(folder: Path) -> Path:
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    return folder


def tiny_weights(folder: Path) -> Path:
    return write_tiny_run(folder / "run", make_spec())


@pytest.mark.parametrize(
    ("arrange", "architecture", "reason"),
    [
        (no_weights, "test_efficientnet", "No such file"),
        (corrupt_weights, "test_efficientnet", "Error while"),
        (tiny_weights, "test_resnet", "Missing key"),
        (tiny_weights, "resnet_51", r"Unknown model \(resnet_51\)"),
    ],
)
def test_weights_that_do_not_fit_the_network_are_refused(
    tmp_path: Path, arrange: Callable[[Path], Path], architecture: str, reason: str
) -> None:
    with pytest.raises(BuildError, match=rf"(?s)model\.safetensors .* {architecture}: .*{reason}"):
        load_network(arrange(tmp_path), make_spec(architecture=architecture))
