"""One step of fine-tuning, as a LightningModule.

Axes: B batch, C channel, H height, W width, K class.
"""

from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # re-exported without __all__
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR
from torchmetrics import MeanMetric

from handler.spec import Preprocessing
from training.augment import Mixing
from training.config import RecipeConfig
from training.loader import derive_seed
from training.network import group_parameters, train_backbone

_SIZE_STEP = 32


class FineTuning(LightningModule):
    """Trains *network*; `best_network` is the one to evaluate and keep."""

    mean_C: Tensor
    std_C: Tensor
    class_weights_K: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        recipe: RecipeConfig,
        preprocessing: Preprocessing,
        *,
        mixing: Mixing | None = None,
        class_weights_K: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.train_loss = MeanMetric()
        # Part of the checkpoint, so that a resumed epoch's mean counts the batches before the stop.
        self.train_loss.persistent(True)
        self._recipe = recipe
        self._train_size = recipe.train_size or preprocessing.size
        self._mixing = mixing
        self._seed = seed
        self.register_buffer("class_weights_K", class_weights_K, persistent=False)
        self.register_buffer("mean_C", torch.tensor(preprocessing.mean) * 255.0, persistent=False)
        self.register_buffer("std_C", torch.tensor(preprocessing.std) * 255.0, persistent=False)

    @property
    def best_network(self) -> nn.Module:
        """The moving average of the weights where there is one, else the weights themselves."""
        return self.network if self.average is None else self.average.module

    def on_train_start(self) -> None:
        # A run that resumes in mid-epoch does not get on_train_epoch_start.
        self._freeze_layers()

    def on_train_epoch_start(self) -> None:
        # A checkpoint of an epoch's end still holds the mean of that epoch.
        self.train_loss.reset()
        self._freeze_layers()

    def _freeze_layers(self) -> None:
        train_backbone(
            self.network,
            learns=self.current_epoch >= self._recipe.freeze_epochs,
            freeze_norms=self._recipe.freeze_norms,
            frozen_stages=self._recipe.frozen_stages,
        )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # The seed of a step depends only on its place, so that a resumed run draws the same numbers.
        torch.manual_seed(derive_seed(self._seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        photos_BCHW, targets = batch
        photos_BCHW = self._resize(photos_BCHW)
        if self._mixing is not None:
            photos_BCHW, targets = self._mixing(photos_BCHW, targets)
        loss = functional.cross_entropy(
            self.network(self._normalise(photos_BCHW)),
            targets,
            weight=self.class_weights_K,
            label_smoothing=self._recipe.label_smoothing,
        )
        self.train_loss.update(loss.detach())
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        photos_BCHW, classes_B = batch
        logits_BK = self.best_network(self._normalise(photos_BCHW)).float()
        figures = {
            "val_loss": functional.cross_entropy(logits_BK, classes_B),
            "val_top1": (logits_BK.argmax(dim=1) == classes_B).float().mean(),
        }
        # Every process sees all of val, so there is nothing to gather.
        self.log_dict(figures, prog_bar=True, batch_size=len(classes_B), sync_dist=False)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.network, step=self.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        recipe = self._recipe
        groups = group_parameters(self.network, recipe.lr, recipe.layer_decay, recipe.weight_decay)
        num_steps = int(self.trainer.estimated_stepping_batches)
        num_warmup = round(num_steps * recipe.warmup_epochs / recipe.epochs)
        optimizer = torch.optim.AdamW(groups)
        schedule = build_schedule(optimizer, num_steps, num_warmup)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _resize(self, photos_BCHW: Tensor) -> Tensor:
        """Scale a batch to the side of this epoch: small at first, which is fast (Tan & Le, ICML 2021)."""
        size = size_of_epoch(self.current_epoch, self._recipe.epochs, self._recipe.start_size, self._train_size)
        photos_BCHW = photos_BCHW.float()
        if size == photos_BCHW.shape[-1]:
            return photos_BCHW
        return functional.interpolate(photos_BCHW, size=(size, size), mode="bilinear", antialias=True)

    def _normalise(self, photos_BCHW: Tensor) -> Tensor:
        return (photos_BCHW - self.mean_C[:, None, None]) / self.std_C[:, None, None]


def build_schedule(optimizer: Optimizer, num_steps: int, num_warmup: int) -> LRScheduler:
    """Return the learning rate of each step: a linear rise over *num_warmup* steps, then half a cosine to nearly 0."""
    cosine = CosineAnnealingLR(optimizer, max(1, num_steps - num_warmup))
    if not num_warmup:
        return cosine
    warmup = LinearLR(optimizer, start_factor=1 / (num_warmup + 1), total_iters=num_warmup)
    return SequentialLR(optimizer, [warmup, cosine], [num_warmup])


def size_of_epoch(epoch: int, num_epochs: int, start: int | None, end: int) -> int:
    """Return the side of the training photos in *epoch*: from *start* to *end* in steps of 32 pixels."""
    if start is None or start >= end:
        return end
    share = epoch / max(1, num_epochs - 1)
    return min(end, start + round(share * (end - start) / _SIZE_STEP) * _SIZE_STEP) if share < 1.0 else end
