"""Fine-tuning: photos and a network in, the trained network and its history out.

Axes: K class.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import Strategy, StrategyRegistry
from torch import Tensor, nn

from handler.spec import Preprocessing
from training.augment import build_augmentation, build_mixing
from training.config import Config, TrainerConfig
from training.data.photo_set import Photo, PhotoSet
from training.distillation import Teacher
from training.interruption import Interruptible, catch_interrupts, explain_lost_process
from training.lightning_module import FineTuning
from training.loader import AugmentedPhotos, PhotoData, ServedPhotos, draft_side
from training.process_setup import choose_device
from training.progress import EpochProgress

# What Lightning says that a user cannot act on.
_IGNORED_WARNINGS = (
    # The moving average is not trained, so it stays in evaluation mode.
    r"Found \d+ module\(s\) in eval mode",
    # Lightning does not see that PhotoData resumes behind the batch where the run stopped.
    "You're resuming from a checkpoint that ended before the epoch ended",
    # Every process evaluates all of val, with the same network.
    r"It is recommended to use `self\.log\(.*sync_dist=True",
    # Lightning 2.6 uses what torch 2.14 deprecates; remove with Lightning 2.7.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@dataclass(frozen=True)
class Job:
    """What one fine-tuning works on; its checkpoint is logs/<id>/<name>.ckpt."""

    name: str
    config: Config
    photos: PhotoSet
    preprocessing: Preprocessing
    logger: Logger | None = None
    callbacks: tuple[Callback, ...] = ()
    teacher: Teacher | None = None
    """Whose answers are learned instead of the labels."""

    @property
    def checkpoint(self) -> Path:
        return Path(self.config.logs) / self.config.id / f"{self.name}.ckpt"


class TrainedNetwork(NamedTuple):
    """*is_global_zero*: this process is the one that evaluates and writes; *epochs*: the figures of each."""

    network: nn.Module
    is_global_zero: bool = True
    epochs: Sequence[Mapping[str, float]] = ()


def fine_tune(network: nn.Module, job: Job) -> TrainedNetwork:
    """Return *network* fine-tuned on the job's train photos; raise `InterruptionError`, `LostProcessError`."""
    config = job.config
    resumed = str(job.checkpoint) if config.resume and job.checkpoint.exists() else None
    trainer = _build_trainer(job, is_new=resumed is None)
    mixing = build_mixing(config.augment, len(job.photos.labels))
    if config.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    class_weights_K = (
        weigh_classes(job.photos.of("train"), job.photos.labels) if config.recipe.class_weighting else None
    )
    module = FineTuning(network, config.recipe, job.preprocessing, mixing, config.seed, class_weights_K, job.teacher)
    with warnings.catch_warnings(), explain_lost_process(), catch_interrupts():
        for message in _IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", message)
        trainer.fit(module, _build_data(job), ckpt_path=resumed, weights_only=False if resumed else None)
    # Lightning leaves it on the CPU.
    kept = module.kept_network.to(choose_device(config.trainer)).to(memory_format=torch.contiguous_format)
    kept.requires_grad_(True).eval()
    return TrainedNetwork(kept, trainer.is_global_zero, module.epochs)


def refit(trained: TrainedNetwork, job: Job) -> TrainedNetwork:
    """Return *trained* after `recipe.refit_epochs` more epochs at a lower rate, on the job's train photos."""
    recipe = job.config.recipe
    whole = {"warmup_epochs": 0.0, "freeze_epochs": 0, "start_size": None, "patience": 0, "keep": "last"}
    recipe = msgspec.structs.replace(recipe, epochs=recipe.refit_epochs, lr=recipe.lr * recipe.refit_lr_share, **whole)
    # Another seed gives other crops than those of the first epochs.
    config = msgspec.structs.replace(job.config, recipe=recipe, seed=job.config.seed + 1)
    # A teacher that has not learned from val may be wrong about it.
    job = replace(job, name="refit", config=config, teacher=None)
    return fine_tune(trained.network, job)._replace(epochs=trained.epochs)


def weigh_classes(photos: Sequence[Photo], labels: Sequence[str]) -> Tensor:
    """Return weights_K, inverse to each label's number of photos, with a mean of 1 over the photos."""
    counts = Counter(photo.label for photo in photos)
    return torch.tensor([len(photos) / (len(labels) * max(1, counts[label])) for label in labels])


def _build_data(job: Job) -> PhotoData:
    config, augment, labels = job.config, job.config.augment, job.photos.labels
    size = max(config.recipe.train_size or job.preprocessing.size, job.teacher.size if job.teacher else 0)
    short_side = draft_side(size, augment.min_area)
    train = AugmentedPhotos(job.photos.of("train"), labels, build_augmentation(augment, size), short_side, config.seed)
    val = ServedPhotos(job.photos.of("val"), labels, job.preprocessing)
    return PhotoData(train, val, config.recipe.batch, config.trainer.workers, config.seed)


def _build_trainer(job: Job, *, is_new: bool) -> Trainer:
    # Lightning's hints are for the author of the trainer, not for its user.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    trainer, patience = job.config.trainer, job.config.recipe.patience
    stopping = [EarlyStopping("val_top1", mode="max", patience=patience)] if patience else []
    return Trainer(
        accelerator=trainer.accelerator,
        devices=trainer.devices,
        num_nodes=trainer.nodes,
        strategy=_build_strategy(trainer),
        precision=trainer.precision,
        max_epochs=job.config.recipe.epochs,
        gradient_clip_val=job.config.recipe.clip_norm or None,
        # Each process's share of an epoch comes from training/loader.py.
        use_distributed_sampler=False,
        logger=job.logger or False,
        callbacks=[*job.callbacks, EpochProgress(job.name), *stopping, Interruptible(job.checkpoint)],
        enable_progress_bar=False,
        enable_model_summary=False,
        # All of val before the first step: what training must not fall below.
        num_sanity_val_steps=-1 if is_new else 0,
        log_every_n_steps=1,
    )


def _build_strategy(trainer: TrainerConfig) -> str | Strategy:
    if not trainer.strategy.startswith("ddp"):
        return trainer.strategy
    entry = StrategyRegistry[trainer.strategy]
    strategy: Strategy = entry["strategy"](**entry["init_params"], timeout=timedelta(minutes=trainer.timeout_minutes))
    return strategy
