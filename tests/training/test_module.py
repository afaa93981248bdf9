import pytest
import torch

from training.data.photo_set import PhotoSet
from training.fit import weigh_classes
from training.module import learning_rate_share, size_of_epoch


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    shares = [learning_rate_share(step, num_steps=100, num_warmup=10) for step in range(100)]

    assert shares[0] == pytest.approx(1 / 11)
    assert shares[10] == 1.0
    assert shares[55] == pytest.approx(0.5)
    assert shares[99] < 0.001
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)


@pytest.mark.parametrize(
    ("start", "sizes"),
    [(160, [160, 192, 224, 224, 260]), (None, [260] * 5), (300, [260] * 5)],
)
def test_the_photos_grow_to_the_full_size(start: int | None, sizes: list[int]) -> None:
    assert [size_of_epoch(epoch, 5, start, 260) for epoch in range(5)] == sizes


def test_a_single_epoch_starts_small() -> None:
    assert size_of_epoch(0, 1, 160, 260) == 160


def test_rare_labels_weigh_more(photo_set: PhotoSet) -> None:
    photos = photo_set.of("train")[2:]

    weights_K = weigh_classes(photos, photo_set.labels)

    assert torch.allclose(weights_K, torch.tensor([30 / (4 * 6), 30 / 32, 30 / 32, 30 / 32]))
