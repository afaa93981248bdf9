import pytest
import torch

from training.data.photo_set import PhotoSet
from training.fine_tuning import weigh_classes
from training.lightning_module import lr_share, size_of_epoch


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    shares = [lr_share(step, num_steps=100, num_warmup=10) for step in range(100)]

    assert shares[0] == pytest.approx(1 / 11)
    assert shares[10] == pytest.approx(1.0)
    assert shares[55] == pytest.approx(0.5)
    assert shares[99] < 0.001
    assert shares[:11] == sorted(shares[:11])
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_without_warm_up_the_learning_rate_starts_at_its_peak() -> None:
    assert lr_share(0, num_steps=10, num_warmup=0) == 1.0


@pytest.mark.parametrize(
    ("start", "num_epochs", "sizes"),
    [(160, 5, [160, 192, 224, 224, 260]), (None, 5, [260] * 5), (300, 5, [260] * 5), (160, 1, [160])],
)
def test_the_photos_grow_to_the_full_size(start: int | None, num_epochs: int, sizes: list[int]) -> None:
    assert [size_of_epoch(epoch, num_epochs, start, 260) for epoch in range(num_epochs)] == sizes


def test_rare_labels_weigh_more(photo_set: PhotoSet) -> None:
    weights_K = weigh_classes(photo_set.of("train")[2:], photo_set.labels)

    assert torch.allclose(weights_K, torch.tensor([30 / (4 * 6), 30 / 32, 30 / 32, 30 / 32]))
