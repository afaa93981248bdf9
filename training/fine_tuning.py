"""Fine-tuning: photos and a network in, the trained network and its history out.

Axes: K class.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn

from handler.spec import Preprocessing
from training.augment import build_augmentation, build_mixing
from training.config import Config
from training.data.photo_set import Photo, PhotoSet
from training.interruption import History, Interruptible
from training.lightning_module import FineTuning
from training.loader import AugmentedPhotos, PhotoData, ServedPhotos, draft_side
from training.progress import ProgressLines, has_terminal


@dataclass(frozen=True)
class Job:
    """What one fine-tuning works on; *folder* keeps its checkpoints, under *name*."""

    name: str
    train: Sequence[Photo]
    val: Sequence[Photo]
    labels: Sequence[str]
    preprocessing: Preprocessing
    folder: Path
    seed: int
    resume: bool = False
    logger: Logger | None = None
    callbacks: tuple[Callback, ...] = ()


@dataclass(frozen=True)
class TrainedNetwork:
    network: nn.Module
    is_global_zero: bool = True
    """Whether this process is the one that evaluates and writes."""
    epochs: list[dict[str, float]] = field(default_factory=list)


def build_job(
    name: str, config: Config, photos: PhotoSet, preprocessing: Preprocessing, tracker: Logger | None = None
) -> Job:
    """Return the job that trains on the train photos."""
    return Job(
        name=name,
        train=photos.of("train"),
        val=photos.of("val"),
        labels=photos.labels,
        preprocessing=preprocessing,
        folder=Path(config.logs) / config.id,
        seed=config.seed,
        resume=config.resume,
        logger=tracker,
    )


def fine_tune(network: nn.Module, job: Job, config: Config) -> TrainedNetwork:
    """Return *network* fine-tuned on the job's train photos; raise `InterruptionError`."""
    history = History()
    trainer = _build_trainer(job, config, history)
    module = FineTuning(
        network.to(memory_format=torch.channels_last) if config.trainer.channels_last else network,
        config.recipe,
        job.preprocessing,
        mixing=build_mixing(config.augment, len(job.labels)),
        class_weights_K=weigh_classes(job.train, job.labels) if config.recipe.class_weighting else None,
        seed=job.seed,
    )
    checkpoint = job.folder / f"{job.name}.ckpt"
    resumed = str(checkpoint) if job.resume and checkpoint.exists() else None
    with warnings.catch_warnings():
        # The moving average is not trained, so it stays in evaluation mode.
        warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")
        # Lightning does not see that PhotoData resumes behind the batch where the run stopped.
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
        # A resumed run with keep=best finds its own checkpoints there.
        warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
        # Lightning 2.6 uses what torch 2.14 deprecates; remove with Lightning 2.7.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        trainer.fit(module, _build_data(job, config), ckpt_path=resumed, weights_only=False if resumed else None)
    if config.recipe.keep == "best":
        best = torch.load(job.folder / f"{job.name}-best.ckpt", map_location="cpu", weights_only=True)
        module.load_state_dict(best["state_dict"])
    kept = module.best_network.to(memory_format=torch.contiguous_format).requires_grad_(True).eval()
    return TrainedNetwork(kept, trainer.is_global_zero, history.epochs)


def fine_tune_with_val(trained: TrainedNetwork, job: Job, config: Config) -> TrainedNetwork:
    """Return *trained* after `recipe.refit_epochs` more epochs on train and val, at a lower rate.

    The result cannot be evaluated on val: the figures of val are those from before.
    """
    recipe = msgspec.structs.replace(
        config.recipe,
        epochs=config.recipe.refit_epochs,
        lr=config.recipe.lr * config.recipe.refit_lr_share,
        warmup_epochs=0.0,
        freeze_epochs=0,
        start_size=None,
        patience=0,
        keep="last",
    )
    # Another seed gives other crops than those of the first epochs.
    job = replace(job, name="refit", train=(*job.train, *job.val), seed=job.seed + 1)
    refitted = fine_tune(trained.network, job, msgspec.structs.replace(config, recipe=recipe))
    return replace(refitted, epochs=trained.epochs)


def weigh_classes(photos: Sequence[Photo], labels: Sequence[str]) -> Tensor:
    """Return weights_K, inverse to each label's number of photos, with a mean of 1 over the photos."""
    counts = Counter(photo.label for photo in photos)
    return torch.tensor([len(photos) / (len(labels) * max(1, counts[label])) for label in labels])


def _build_data(job: Job, config: Config) -> PhotoData:
    size, augment = config.recipe.train_size or job.preprocessing.size, config.augment
    short_side = draft_side(size, augment.min_area)
    return PhotoData(
        AugmentedPhotos(job.train, job.labels, build_augmentation(augment, size), short_side, job.seed),
        ServedPhotos(job.val, job.labels, job.preprocessing),
        config.recipe.batch,
        config.trainer.workers,
        job.seed,
    )


def _build_trainer(job: Job, config: Config, history: History) -> Trainer:
    # Lightning's hints are for the author of the trainer, not for its user.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    progress = RichProgressBar(console_kwargs={"stderr": True}) if has_terminal() else ProgressLines(job.name)
    callbacks = [*job.callbacks, history, progress]
    if config.recipe.patience:
        callbacks.append(EarlyStopping("val_top1", mode="max", patience=config.recipe.patience))
    if config.recipe.keep == "best":
        name = f"{job.name}-best"
        callbacks.append(
            ModelCheckpoint(
                job.folder, name, "val_top1", mode="max", save_weights_only=True, enable_version_counter=False
            )
        )
    callbacks.append(Interruptible(job.folder / f"{job.name}.ckpt"))
    return Trainer(
        accelerator=config.trainer.accelerator,
        devices=config.trainer.devices,
        num_nodes=config.trainer.nodes,
        strategy=config.trainer.strategy,
        precision=config.trainer.precision,
        max_epochs=config.recipe.epochs,
        gradient_clip_val=config.recipe.clip_norm or None,
        # Each process's share of an epoch comes from training/loader.py.
        use_distributed_sampler=False,
        logger=job.logger or False,
        callbacks=callbacks,
        enable_progress_bar=has_terminal(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
