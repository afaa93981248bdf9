"""Random changes of training photos; evaluation and serving do not use them.

Axes: B batch, C channel, H height, W width, K class.
"""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2  # type: ignore[import-untyped]

from training.config import AugmentConfig

Augmentation = Callable[[Image.Image], Tensor]
Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

_GREY = (128, 128, 128)


def build_augmentation(augment: AugmentConfig, size: int) -> Augmentation:
    """Return what makes an RGB image a random uint8 CHW tensor of side *size*."""
    steps: list[torch.nn.Module] = [
        v2.RandomResizedCrop(size, scale=(augment.min_area, 1.0), interpolation=v2.InterpolationMode.BICUBIC)
    ]
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.rand_augment_ops:
        steps.append(
            v2.RandAugment(
                augment.rand_augment_ops,
                augment.rand_augment_magnitude,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill=list(_GREY),
            )
        )
    steps.append(v2.PILToTensor())
    if augment.erase:
        steps.append(v2.RandomErasing(augment.erase, value=_GREY))
    augmentation: Augmentation = v2.Compose(steps)
    return augmentation


def build_mixing(augment: AugmentConfig, num_classes: int) -> Mixing | None:
    """Return what mixes photos_BCHW and classes_B of a batch to photos_BCHW and shares_BK, or None."""
    ways: list[torch.nn.Module] = []
    if augment.mixup:
        ways.append(v2.MixUp(alpha=augment.mixup, num_classes=num_classes))
    if augment.cutmix:
        ways.append(v2.CutMix(alpha=augment.cutmix, num_classes=num_classes))
    if not ways or not augment.mix_share:
        return None
    either = v2.RandomChoice(ways)

    def mix(photos_BCHW: Tensor, classes_B: Tensor) -> tuple[Tensor, Tensor]:
        if torch.rand(()) < augment.mix_share:
            mixed: tuple[Tensor, Tensor] = either(photos_BCHW, classes_B)
            return mixed
        return photos_BCHW, torch.nn.functional.one_hot(classes_B, num_classes).float()

    return mix
