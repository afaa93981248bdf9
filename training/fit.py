"""Fine-tuning as a whole: photos and a network in, a trained network and its history out.

Axes: K class.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from handler.spec import Preprocessing
from training.augment import build_augmentation, build_mixing
from training.config import AugmentConfig, RecipeConfig, TrainerConfig
from training.data.photo_set import Photo
from training.interruption import History, Interruptible
from training.loader import AugmentedPhotos, PhotoData, ServedPhotos, draft_side
from training.module import FineTuning


@dataclass(frozen=True)
class Job:
    """What one fit works on; *folder* keeps its checkpoints, under *name*."""

    train: Sequence[Photo]
    val: Sequence[Photo]
    labels: Sequence[str]
    preprocessing: Preprocessing
    folder: Path
    name: str
    seed: int
    resume: bool = False
    logger: Logger | None = None
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True)
class Fitted:
    network: nn.Module
    is_chief: bool
    """Whether this process is the one that evaluates and writes."""
    epochs: list[dict[str, float]] = field(default_factory=list)


def fine_tune(
    network: nn.Module, job: Job, recipe: RecipeConfig, augment: AugmentConfig, config: TrainerConfig
) -> Fitted:
    """Return *network* fine-tuned on the job's train photos; raise `InterruptionError`."""
    history = History()
    trainer = _build_trainer(job, recipe, config, history)
    data = _build_data(job, recipe, augment, config)
    module = FineTuning(
        network.to(memory_format=torch.channels_last) if config.channels_last else network,
        recipe,
        job.preprocessing,
        mixing=build_mixing(augment, len(job.labels)),
        class_weights_K=weigh_classes(job.train, job.labels) if recipe.class_weighting else None,
        seed=job.seed,
    )
    checkpoint = job.folder / f"{job.name}.ckpt"
    resumed = str(checkpoint) if job.resume and checkpoint.exists() else None
    with warnings.catch_warnings():
        # The moving average is never trained, and rightly in evaluation mode.
        warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        # It does not see that PhotoData resumes behind the batch where the run stopped.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        # Of `best`, which a run that goes on finds there.
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        # Lightning 2.6 asks torch in a way that torch 2.14 is about to drop; remove with Lightning 2.7.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        trainer.fit(module, data, ckpt_path=resumed, weights_only=False if resumed else None)
    if recipe.keep == "best":
        best = torch.load(job.folder / f"{job.name}-best.ckpt", map_location="cpu", weights_only=True)
        module.load_state_dict(best["state_dict"])
    kept = module.best_network.to(memory_format=torch.contiguous_format).requires_grad_(True).eval()
    return Fitted(kept, trainer.is_global_zero, history.epochs)


def weigh_classes(photos: Sequence[Photo], labels: Sequence[str]) -> Tensor:
    """Return weights_K, inverse to each label's photos, with a mean of 1 over the photos."""
    counts = Counter(photo.label for photo in photos)
    return torch.tensor([len(photos) / (len(labels) * max(1, counts[label])) for label in labels])


def _build_data(job: Job, recipe: RecipeConfig, augment: AugmentConfig, config: TrainerConfig) -> PhotoData:
    size = recipe.train_size or job.preprocessing.size
    return PhotoData(
        AugmentedPhotos(
            job.train, job.labels, build_augmentation(augment, size), draft_side(size, augment.min_area), job.seed
        ),
        ServedPhotos(job.val, job.labels, job.preprocessing),
        recipe.batch,
        config.workers,
        job.seed,
    )


def _build_trainer(job: Job, recipe: RecipeConfig, config: TrainerConfig, history: History) -> Trainer:
    # Lightning's advice on hardware and its tips are for those who write the trainer.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    callbacks = [*job.callbacks, history, RichProgressBar()]
    if recipe.patience:
        callbacks.append(EarlyStopping("val_top1", mode="max", patience=recipe.patience))
    if recipe.keep == "best":
        callbacks.append(
            ModelCheckpoint(
                job.folder,
                f"{job.name}-best",
                "val_top1",
                mode="max",
                save_weights_only=True,
                enable_version_counter=False,
            )
        )
    callbacks.append(Interruptible(job.folder / f"{job.name}.ckpt"))
    return Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=config.strategy,
        precision=config.precision,
        max_epochs=recipe.epochs,
        gradient_clip_val=recipe.clip_norm or None,
        # Each process's share of an epoch comes from training/loader.py.
        use_distributed_sampler=False,
        logger=job.logger or False,
        callbacks=callbacks,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
