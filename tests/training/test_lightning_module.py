import pytest
import torch

from training.data.photo_set import PhotoSet
from training.fine_tuning import weigh_classes
from training.lightning_module import limit_decay, schedule_lr, size_of_epoch


def learning_rates(num_steps: int, num_warmup: int) -> list[float]:
    """Return the learning rate of each step whose peak is 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = schedule_lr(optimizer, num_steps, num_warmup)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    rates = learning_rates(num_steps=100, num_warmup=10)

    assert rates[0] == pytest.approx(1 / 11)
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[99] < 0.001
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_warm_up_the_learning_rate_starts_at_its_peak() -> None:
    assert learning_rates(num_steps=10, num_warmup=0)[0] == 1.0


@pytest.mark.parametrize(
    ("start", "num_epochs", "sizes"),
    [(160, 5, [160, 192, 224, 224, 260]), (None, 5, [260] * 5), (300, 5, [260] * 5), (160, 1, [160])],
)
def test_the_photos_grow_to_the_full_size(start: int | None, num_epochs: int, sizes: list[int]) -> None:
    assert [size_of_epoch(epoch, num_epochs, start, 260) for epoch in range(num_epochs)] == sizes


def test_rare_labels_weigh_more(photo_set: PhotoSet) -> None:
    weights_K = weigh_classes(photo_set.of("train")[2:], photo_set.labels)

    assert torch.allclose(weights_K, torch.tensor([30 / (4 * 6), 30 / 32, 30 / 32, 30 / 32]))


@pytest.mark.parametrize(("num_steps", "decay"), [(10_000, 0.998), (1000, 0.995), (100, 0.95), (5, 0.0)])
def test_the_moving_average_spans_at_most_a_fifth_of_the_steps(num_steps: int, decay: float) -> None:
    assert limit_decay(0.998, num_steps) == pytest.approx(decay)
