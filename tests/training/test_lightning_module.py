import pytest
import torch

from training.data.photo_set import PhotoSet
from training.fine_tuning import weigh_classes
from training.lightning_module import build_schedule, size_of_epoch


def learning_rates(num_steps: int, num_warmup: int, lr: float = 1.0) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = build_schedule(optimizer, num_steps, num_warmup)
    rates = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_the_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    rates = learning_rates(num_steps=100, num_warmup=10, lr=2.0)

    assert rates[0] == pytest.approx(2 / 11)
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert rates[99] < 0.002
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_without_warm_up_the_learning_rate_falls_from_the_first_step() -> None:
    rates = learning_rates(num_steps=10, num_warmup=0)

    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("start", "sizes"),
    [(160, [160, 192, 224, 224, 260]), (None, [260] * 5), (300, [260] * 5)],
)
def test_the_photos_grow_to_the_full_size(start: int | None, sizes: list[int]) -> None:
    assert [size_of_epoch(epoch, 5, start, 260) for epoch in range(5)] == sizes


def test_a_single_epoch_starts_small() -> None:
    assert size_of_epoch(0, 1, 160, 260) == 160


def test_rare_labels_weigh_more(photo_set: PhotoSet) -> None:
    weights_K = weigh_classes(photo_set.of("train")[2:], photo_set.labels)

    assert torch.allclose(weights_K, torch.tensor([30 / (4 * 6), 30 / 32, 30 / 32, 30 / 32]))
