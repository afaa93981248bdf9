"""Distillation: a network learns the answers of a better one, its teacher, to the same crops.

Hinton et al., 2015; same crops, this loss alone and long training after Beyer et al., CVPR 2022.
Axes: B batch, C channel, H height, W width, K class.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2.functional import normalize  # type: ignore[import-untyped]

from handler.spec import Preprocessing, SpecError, read_spec
from training.config import ConfigError, RecipeConfig
from training.run_folder import load_network


class Teacher:
    """The network of a finished run; neither the module that learns nor its checkpoint holds it."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing, temperature: float) -> None:
        self._network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self._preprocessing, self._temperature, self.size = preprocessing, temperature, preprocessing.size

    def loss(self, photos_BCHW: Tensor, logits_BK: Tensor) -> Tensor:
        """Return how far *logits_BK* are from the teacher's for *photos_BCHW*, in [0, 255]: their mean KL divergence.

        It is multiplied by the square of the temperature, so that its gradients do not depend on it.
        """
        self._network.to(photos_BCHW.device)
        with torch.no_grad():
            answers_BK = self._network(scale_batch(photos_BCHW, self._preprocessing, self.size))
        taught_BK, learned_BK = (
            functional.log_softmax(logits.float() / self._temperature, dim=1) for logits in (answers_BK, logits_BK)
        )
        divergence = functional.kl_div(learned_BK, taught_BK, reduction="batchmean", log_target=True)
        return divergence * self._temperature**2


def load_teacher(recipe: RecipeConfig, labels: Sequence[str]) -> Teacher | None:
    """Return the teacher that *recipe* names, if any; raise `ConfigError` or `NetworkError`."""
    if recipe.teacher is None:
        return None
    run = Path(recipe.teacher)
    try:
        spec = read_spec(run)
    except SpecError as error:
        raise ConfigError(f"recipe.teacher must be a finished run's folder: {error}") from error
    if spec.labels != tuple(labels):
        different = sorted(set(spec.labels) ^ set(labels))
        raise ConfigError(
            f"recipe.teacher={run} knows {len(spec.labels)} labels, these photos have {len(labels)}, and the first "
            f"difference is {different[0]!r}; train the teacher with the same photos"
        )
    return Teacher(load_network(run, spec), spec.preprocessing, recipe.teacher_temperature)


def scale_batch(photos_BCHW: Tensor, preprocessing: Preprocessing, size: int) -> Tensor:
    """Return *photos_BCHW*, in [0, 255], with side *size* and normalised by *preprocessing*'s mean and deviation."""
    photos_BCHW = photos_BCHW.float()
    if size != photos_BCHW.shape[-1]:
        photos_BCHW = functional.interpolate(photos_BCHW, size=(size, size), mode="bilinear", antialias=True)
    normalised: Tensor = normalize(photos_BCHW / 255.0, list(preprocessing.mean), list(preprocessing.std))
    return normalised
