import pytest
import torch
from torch import Tensor

from training.data.photo_set import PhotoSet
from training.evaluation import robustness
from training.evaluation.network_outputs import predict_batches
from training.evaluation.robustness import add_noise, blur, compress, corrupt_batches, measure_robustness, rotate
from training.loader import serve_batches
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
    assert figures.pop("none") == {"as is": outputs.right.mean()}
    assert set(figures) == {"blur", "noise", "jpeg", "darkness", "rotation"}
    assert all(set(degrees) == {"mild", "strong"} for degrees in figures.values())


@pytest.mark.parametrize("corruption", [add_noise, rotate])
def test_random_corruptions_depend_on_the_photo_and_not_on_batches(
    edge: Tensor, corruption: robustness.Corruption
) -> None:
    def corrupt(*sizes: int) -> Tensor:
        batches = [(edge.expand(size, -1, -1, -1), 0) for size in sizes]
        return torch.cat([photos_BCHW for photos_BCHW, _ in corrupt_batches(batches, corruption, 20.0)])

    photos_BCHW = corrupt(4)
    assert torch.equal(photos_BCHW, corrupt(1, 3))
    assert len({photo_CHW.numpy().tobytes() for photo_CHW in photos_BCHW}) > 1


def test_corruptions_spoil_photos_as_their_strength_says(edge: Tensor) -> None:
    grey_CHW = torch.full((3, 64, 64), 128, dtype=torch.uint8)
    noise_CHW = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    assert len(set(blur(edge, 0.05)[0, 0].tolist())) > 10
    assert add_noise(grey_CHW, 20.0).float().std() == pytest.approx(20.0, rel=0.05)
    assert compress(noise_CHW, 5).float().std() < 0.8 * noise_CHW.float().std()
    assert rotate(edge, 45.0)[:, 0, 0].tolist() == [128, 128, 128]
