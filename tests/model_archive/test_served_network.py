from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from model_archive.build_error import BuildError
from model_archive.served_network import ServedNetwork, load_network
from tests.runs import write_tiny_run
from tests.specs import make_spec
from training.prune import remove_channels
from training.run_folder import write_run

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


@pytest.mark.parametrize(
    ("weights", "architecture", "reason"),
    [
        (None, "test_efficientnet", "No such file"),
        (b"not safetensors at all", "test_efficientnet", "Error while"),
        (b"", "test_resnet", "Missing key"),
        (b"", "resnet_51", r"Unknown model \(resnet_51\)"),
    ],
)
def test_weights_that_do_not_fit_the_network_are_refused(
    tmp_path: Path, weights: bytes | None, architecture: str, reason: str
) -> None:
    run = tmp_path if weights is None else write_tiny_run(tmp_path / "run", make_spec())
    if weights:
        (run / "model.safetensors").write_bytes(weights)

    with pytest.raises(BuildError, match=rf"(?s)model\.safetensors .* {architecture}: .*{reason}"):
        load_network(run, make_spec(architecture=architecture))


def test_a_pruned_network_is_rebuilt_with_the_widths_of_its_weights(tmp_path: Path) -> None:
    spec = make_spec(pruned=0.5)
    pruned = remove_channels(timm.create_model("test_efficientnet", num_classes=4).eval(), 0.5, spec).eval()
    write_run(tmp_path / "run", state_dict=pruned.state_dict(), spec=spec, metrics={})

    served = load_network(tmp_path / "run", spec)

    inputs_BHWC = (PHOTOS_BHWC.float() - served.mean_C) / served.std_C
    torch.testing.assert_close(served(PHOTOS_BHWC)[0], pruned(inputs_BHWC.permute(0, 3, 1, 2)))
    widths = {name: str(layer) for name, layer in pruned.named_modules() if not list(layer.children())}
    assert {name: str(layer) for name, layer in served.network.named_modules() if name in widths} == widths
