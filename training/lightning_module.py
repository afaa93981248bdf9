"""One step of fine-tuning, as a LightningModule.

Axes: B batch, C channel, H height, W width, K class.
"""

import math
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]  # re-exported without __all__
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric
from torchvision.transforms.v2.functional import normalize  # type: ignore[import-untyped]

from handler.spec import Preprocessing
from training.augment import Mixing
from training.config import RecipeConfig
from training.loader import derive_seed
from training.network import freeze_layers, group_parameters

_SIZE_STEP = 32


class FineTuning(LightningModule):
    """Trains *network*; `best_network` is the one to evaluate and keep."""

    def __init__(
        self, network: nn.Module, recipe: RecipeConfig, preprocessing: Preprocessing, mixing: Mixing, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.average = ModelEmaV3(network, decay=recipe.ema_decay, use_warmup=True) if recipe.ema_decay else None
        self.train_loss = MeanMetric()
        # Part of the checkpoint, so that a resumed epoch's mean counts the batches before the stop.
        self.train_loss.persistent(True)
        self._recipe, self._preprocessing, self._mixing, self._seed = recipe, preprocessing, mixing, seed
        self.epochs: list[dict[str, float]] = []
        """The figures of each epoch, kept through a resume."""

    @property
    def best_network(self) -> nn.Module:
        """The moving average of the weights where there is one, else the weights themselves."""
        return self.network if self.average is None else self.average.module

    def on_train_start(self) -> None:
        freeze_layers(self.network, freeze_norms=self._recipe.freeze_norms, frozen_stages=self._recipe.frozen_stages)

    def on_train_epoch_start(self) -> None:
        # A checkpoint of an epoch's end still holds the mean of that epoch.
        self.train_loss.reset()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # The seed of a step depends only on its place, so that a resumed run draws the same numbers.
        torch.manual_seed(derive_seed(self._seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        photos_BCHW, targets = self._mixing(self._resize(batch[0]), batch[1])
        logits_BK = self.network(self._normalise(photos_BCHW))
        loss = functional.cross_entropy(logits_BK, targets, label_smoothing=self._recipe.label_smoothing)
        self.train_loss.update(loss.detach())
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        photos_BCHW, classes_B = batch
        logits_BK = self.best_network(self._normalise(photos_BCHW)).float()
        top1 = (logits_BK.argmax(dim=1) == classes_B).float().mean()
        figures = {"val_loss": functional.cross_entropy(logits_BK, classes_B), "val_top1": top1}
        # Every process sees all of val, so there is nothing to gather.
        self.log_dict(figures, batch_size=len(classes_B), sync_dist=False)

    def on_train_epoch_end(self) -> None:
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        self.epochs.append({"epoch": self.current_epoch + 1, **figures})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["epochs"] = self.epochs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.epochs = checkpoint["epochs"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.network, step=self.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        recipe = self._recipe
        optimizer = torch.optim.AdamW(
            group_parameters(self.network, recipe.lr, recipe.layer_decay, recipe.weight_decay)
        )
        num_steps = int(self.trainer.estimated_stepping_batches)
        num_warmup = round(num_steps * recipe.warmup_epochs / recipe.epochs)
        schedule = LambdaLR(optimizer, lambda step: lr_share(step, num_steps, num_warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _resize(self, photos_BCHW: Tensor) -> Tensor:
        """Scale a batch to the side of this epoch: small at first, which is fast (Tan & Le, ICML 2021)."""
        recipe, full = self._recipe, self._preprocessing.size
        size = size_of_epoch(self.current_epoch, recipe.epochs, recipe.start_size, full)
        if size == full:
            return photos_BCHW.float()
        return functional.interpolate(photos_BCHW.float(), size=(size, size), mode="bilinear", antialias=True)

    def _normalise(self, photos_BCHW: Tensor) -> Tensor:
        how = self._preprocessing
        return normalize(photos_BCHW.float() / 255.0, list(how.mean), list(how.std))  # type: ignore[no-any-return]


def lr_share(step: int, num_steps: int, num_warmup: int) -> float:
    """Return the learning rate of *step* as a share: a linear rise over *num_warmup* steps, then half a cosine to 0."""
    if step < num_warmup:
        return (step + 1) / (num_warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - num_warmup) / max(1, num_steps - num_warmup)))


def size_of_epoch(epoch: int, num_epochs: int, start: int | None, end: int) -> int:
    """Return the side of the training photos in *epoch*: from *start* to *end* in steps of 32 pixels."""
    if start is None or start >= end:
        return end
    share = epoch / max(1, num_epochs - 1)
    return min(end, start + round(share * (end - start) / _SIZE_STEP) * _SIZE_STEP) if share < 1.0 else end
