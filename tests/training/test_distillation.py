"""A network that learns another one's answers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from handler.spec import Preprocessing
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import LEARNED, LEARNS, call_main, read_metrics, run_training, tiny_config
from training.config import ConfigError
from training.distillation import Teacher, load_teacher, scale_batch

PREPROCESSING = Preprocessing(size=32, crop=1.0, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class _Mean(nn.Module):
    """Two logits from a photo's mean; it remembers the size of what it was given."""

    size = 0

    def forward(self, photos_BCHW: torch.Tensor) -> torch.Tensor:
        self.size = photos_BCHW.shape[-1]
        mean_B = photos_BCHW.mean(dim=(1, 2, 3))
        return torch.stack([mean_B, -mean_B], dim=1)


def test_equal_answers_cost_nothing_and_opposite_ones_do() -> None:
    network, photos_BCHW = _Mean(), torch.full((2, 3, 64, 64), 255.0)
    teacher = Teacher(network, PREPROCESSING, temperature=2.0)
    answers_BK = network(scale_batch(photos_BCHW, PREPROCESSING, 32))
    assert teacher.loss(photos_BCHW, answers_BK).item() == pytest.approx(0.0, abs=1e-6)
    assert teacher.loss(photos_BCHW, -answers_BK).item() > 0.5
    assert network.size == 32


def test_the_loss_has_no_gradient_for_the_teacher() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    logits_BK = torch.zeros(2, 2, requires_grad=True)
    loss = Teacher(network, PREPROCESSING, temperature=1.0).loss(torch.rand(2, 3, 32, 32) * 255, logits_BK)
    torch.autograd.backward(loss)
    assert logits_BK.grad is not None
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photo_set(tmp_path_factory.mktemp("photos"), {"train": 12, "val": 6})


@pytest.fixture(scope="module")
def teacher_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_training(photos, tmp_path_factory.mktemp("teacher"), *LEARNS)


def test_a_student_learns_the_labels_from_its_teacher_alone(photos: Path, teacher_run: Path, tmp_path: Path) -> None:
    run = run_training(photos, tmp_path, *LEARNS, f"recipe.teacher={teacher_run}", "network.size=48")
    assert read_metrics(run)["splits"]["val"]["summary"]["top1"] >= LEARNED


def test_a_student_and_its_checkpoint_do_not_hold_the_teacher(photos: Path, teacher_run: Path, tmp_path: Path) -> None:
    run = run_training(photos, tmp_path, f"recipe.teacher={teacher_run}", "recipe.refit_epochs=1")
    sizes = [folder.joinpath("model.safetensors").stat().st_size for folder in (run, teacher_run)]
    assert sizes[0] == sizes[1]


def test_a_teacher_of_other_labels_is_refused(photos: Path, teacher_run: Path, tmp_path: Path) -> None:
    recipe = tiny_config(photos, tmp_path, f"recipe.teacher={teacher_run}").recipe
    with pytest.raises(ConfigError, match="durian"):
        load_teacher(recipe, ["apple", "banana", "carrot", "durian"])


def test_a_teacher_that_is_no_run_ends_before_any_training(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"recipe\.teacher"):
        call_main(monkeypatch, photos, tmp_path, f"recipe.teacher={tmp_path / 'nothing'}")


def test_a_probe_has_no_teacher(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"recipe\.teacher"):
        call_main(monkeypatch, photos, tmp_path, "recipe.method=probe", "recipe.teacher=runs/teacher")
