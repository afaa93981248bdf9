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

_GREY = [128, 128, 128]


def build_augmentation(augment: AugmentConfig, size: int) -> Augmentation:
    """Return what makes an RGB image a random uint8 CHW tensor of side *size*."""
    bilinear = v2.InterpolationMode.BILINEAR
    steps: list[torch.nn.Module] = []
    if augment.rotation:
        steps.append(v2.RandomRotation(augment.rotation, interpolation=bilinear, fill=_GREY))
    scale, bicubic = (augment.min_area, 1.0), v2.InterpolationMode.BICUBIC
    steps.append(v2.RandomResizedCrop(size, scale=scale, interpolation=bicubic))
    if augment.flip:
        steps.append(v2.RandomHorizontalFlip(augment.flip))
    if augment.colour:
        steps.append(v2.ColorJitter(augment.colour, augment.colour, augment.colour))
    if augment.rand_augment_ops:
        ops, magnitude = augment.rand_augment_ops, augment.rand_augment_magnitude
        steps.append(v2.RandAugment(ops, magnitude, interpolation=bilinear, fill=_GREY))
    steps.append(v2.PILToTensor())
    if augment.erase:
        steps.append(v2.RandomErasing(augment.erase, value=_GREY))
    augmentation: Augmentation = v2.Compose(steps)
    return augmentation


def build_mixing(augment: AugmentConfig, num_classes: int) -> Mixing:
    """Return what mixes a share of the batches: photos_BCHW and classes_B to photos_BCHW and shares_BK."""
    alphas = {v2.MixUp: augment.mixup, v2.CutMix: augment.cutmix}
    ways = [way(alpha=alpha, num_classes=num_classes) for way, alpha in alphas.items() if alpha]
    mixing: Mixing = v2.RandomApply([v2.RandomChoice(ways)], p=augment.mix_share) if ways else v2.Identity()
    return mixing
