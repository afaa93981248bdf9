"""One step of fine-tuning, as a LightningModule.

Axes: B batch, C channel, H height, W width, K class.
"""

import copy
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
from training.distillation import Teacher, scale_batch
from training.loader import derive_seed
from training.network import freeze_layers, group_parameters
from training.progress import print_line

_SIZE_STEP = 32
_MIN_SPANS = 5
"""How often the moving average's span fits into the steps: the start then keeps a weight of e^-5 at the end."""


class FineTuning(LightningModule):
    """Trains *network*; `best_network` is the one to evaluate, `kept_network` the one to keep."""

    class_weights_K: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        recipe: RecipeConfig,
        preprocessing: Preprocessing,
        mixing: Mixing,
        seed: int,
        class_weights_K: Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.average = ModelEmaV3(network, decay=recipe.ema_decay) if recipe.ema_decay else None
        self.train_loss = MeanMetric()
        # Part of the checkpoint, so that a resumed epoch's mean counts the batches before the stop.
        self.train_loss.persistent(True)
        self.register_buffer("class_weights_K", class_weights_K, persistent=False)
        self._recipe, self._preprocessing, self._mixing, self._seed = recipe, preprocessing, mixing, seed
        self._teacher = teacher
        # In memory and in the checkpoint: processes of a run without id= would each look for a file of their own.
        self._best: dict[str, Any] = {"val_top1": -1.0, "state_dict": None}
        self.epochs: list[dict[str, float]] = []
        """The figures of the start, as epoch 0, and of each epoch, kept through a resume."""

    @property
    def best_network(self) -> nn.Module:
        """The moving average of the weights where there is one, else the weights themselves."""
        return self.network if self.average is None else self.average.module

    @property
    def kept_network(self) -> nn.Module:
        """The `best_network` of the last epoch or, with `recipe.keep=best`, of the one with the best val top-1."""
        if self._best["state_dict"] is not None:
            self.best_network.load_state_dict(self._best["state_dict"])
        return self.best_network

    def on_train_start(self) -> None:
        # A run that resumes within an epoch does not get on_train_epoch_start.
        self._freeze_layers()

    def on_train_epoch_start(self) -> None:
        # A checkpoint of an epoch's end still holds the mean of that epoch.
        self.train_loss.reset()
        self._freeze_layers()

    def _freeze_layers(self) -> None:
        recipe = self._recipe
        backbone = self.current_epoch < recipe.freeze_epochs
        freeze_layers(
            self.network, backbone=backbone, freeze_norms=recipe.freeze_norms, frozen_stages=recipe.frozen_stages
        )

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # The seed of a step depends only on its place, so that a resumed run draws the same numbers.
        torch.manual_seed(derive_seed(self._seed, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        recipe, full_size = self._recipe, self._recipe.train_size or self._preprocessing.size
        size = size_of_epoch(self.current_epoch, recipe.epochs, recipe.start_size, full_size)
        photos_BCHW, targets = self._mixing(batch[0].float(), batch[1])
        logits_BK = self.network(scale_batch(photos_BCHW, self._preprocessing, size))
        if self._teacher is not None:
            loss = self._teacher.loss(photos_BCHW, logits_BK)
        else:
            smoothing = recipe.label_smoothing
            loss = functional.cross_entropy(logits_BK, targets, self.class_weights_K, label_smoothing=smoothing)
        self.train_loss.update(loss.detach())
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        photos_BCHW, classes_B = batch
        logits_BK = self.best_network(scale_batch(photos_BCHW, self._preprocessing, photos_BCHW.shape[-1])).float()
        top1 = (logits_BK.argmax(dim=1) == classes_B).float().mean()
        figures = {"val_loss": functional.cross_entropy(logits_BK, classes_B), "val_top1": top1}
        # Every process sees all of val, so there is nothing to gather.
        self.log_dict(figures, batch_size=len(classes_B), sync_dist=False)

    def on_validation_end(self) -> None:
        if self.trainer.sanity_checking:
            start = self._note_epoch(0)
            if self.logger is not None:
                self.logger.log_metrics(start, step=0)
            print_line(f"start: val loss {start['val_loss']:.3f}, val top-1 {start['val_top1']:.3f}")

    def on_train_epoch_end(self) -> None:
        self._note_epoch(self.current_epoch + 1)

    def _note_epoch(self, number: int) -> dict[str, float]:
        figures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        self.epochs.append({"epoch": number, **figures})
        if self._recipe.keep == "best" and figures["val_top1"] > self._best["val_top1"]:
            self._best = {"val_top1": figures["val_top1"], "state_dict": copy.deepcopy(self.best_network.state_dict())}
        return self.epochs[-1]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint.update(epochs=self.epochs, best=self._best)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.epochs, self._best = checkpoint["epochs"], checkpoint["best"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.network)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        recipe = self._recipe
        optimizer = torch.optim.AdamW(
            group_parameters(self.network, recipe.lr, recipe.layer_decay, recipe.weight_decay)
        )
        num_steps = int(self.trainer.estimated_stepping_batches)
        if self.average is not None:
            self.average.decay = limit_decay(recipe.ema_decay, num_steps)
        schedule = schedule_lr(optimizer, num_steps, round(num_steps * recipe.warmup_epochs / recipe.epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def limit_decay(decay: float, num_steps: int) -> float:
    """Return *decay*, or less where its average would span more than a fifth of *num_steps*.

    It is the same for all steps: timm's warm-up starts at 0, so that the first epochs show the weights as the highest
    learning rate left them (docs/training_log.md).
    """
    return min(decay, max(0.0, 1.0 - _MIN_SPANS / num_steps))


def schedule_lr(optimizer: Optimizer, num_steps: int, num_warmup: int) -> LRScheduler:
    """Return a linear rise of the learning rates over *num_warmup* steps, then half a cosine to 0 at *num_steps*."""
    cosine = CosineAnnealingLR(optimizer, T_max=max(1, num_steps - num_warmup))
    if not num_warmup:
        return cosine
    rise = LinearLR(optimizer, start_factor=1 / (num_warmup + 1), total_iters=num_warmup)
    return SequentialLR(optimizer, [rise, cosine], milestones=[num_warmup])


def size_of_epoch(epoch: int, num_epochs: int, start: int | None, end: int) -> int:
    """Return the side of the training photos in *epoch*: from *start* to *end* in steps of 32 pixels.

    Small photos at first are fast (Tan & Le, ICML 2021).
    """
    if start is None or start >= end:
        return end
    share = epoch / max(1, num_epochs - 1)
    return min(end, start + round(share * (end - start) / _SIZE_STEP) * _SIZE_STEP) if share < 1.0 else end
