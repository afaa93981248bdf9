from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.data.photo_set import PhotoSet
from training.evaluation.network_outputs import predict_batches
from training.evaluation.robustness import CorruptedPhotos, add_noise, blur, compress, measure_robustness, rotate
from training.loader import ServedPhotos, serve_batches
from training.network import build_network, default_preprocessing

PREPROCESSING = default_preprocessing("test_efficientnet", size=64, crop=1.0)


@pytest.fixture
def edge() -> Tensor:
    """A photo of 64x64 pixels: black on the left, light grey on the right."""
    photo_CHW = torch.zeros(3, 64, 64, dtype=torch.uint8)
    photo_CHW[:, :, 32:] = 200
    return photo_CHW


def test_every_corruption_has_two_degrees_beside_the_photos_as_they_are(photo_set: PhotoSet) -> None:
    network = build_network("test_efficientnet", "random", 4)
    photos = photo_set.of("val")
    outputs = predict_batches(network, serve_batches(photos, photo_set.labels, PREPROCESSING, 4), PREPROCESSING)

    figures = measure_robustness(network, photos, photo_set.labels, PREPROCESSING, 4)

    assert figures.pop("none") == {"as is": (outputs.logits_NK.argmax(axis=1) == outputs.classes_N).mean()}
    assert set(figures) == {"blur", "noise", "jpeg", "darkness", "rotation"}
    assert all(set(degrees) == {"mild", "strong"} for degrees in figures.values())


@pytest.mark.parametrize("corruption", [add_noise, rotate])
def test_random_corruptions_are_equal_each_time(
    photo_set: PhotoSet, corruption: Callable[[Tensor, float], Tensor]
) -> None:
    served = ServedPhotos(photo_set.of("val"), photo_set.labels, PREPROCESSING)
    corrupted = CorruptedPhotos(served, corruption, 20.0)

    first, again = corrupted[0][0], corrupted[0][0]

    assert torch.equal(first, again)
    assert not torch.equal(first, served[0][0])


def test_blur_makes_an_edge_gradual(edge: Tensor) -> None:
    assert len(set(blur(edge, 0.05)[0, 0].tolist())) > 10


def test_noise_has_the_deviation_asked_for() -> None:
    grey_CHW = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    assert add_noise(grey_CHW, 20.0).float().std() == pytest.approx(20.0, rel=0.05)


def test_compression_loses_detail() -> None:
    noise_CHW = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    compressed_CHW = compress(noise_CHW, 5)
    assert compressed_CHW.shape == noise_CHW.shape
    assert compressed_CHW.float().std() < 0.8 * noise_CHW.float().std()


def test_rotation_leaves_grey_corners(edge: Tensor) -> None:
    assert rotate(edge, 45.0)[:, 0, 0].tolist() == [128, 128, 128]
