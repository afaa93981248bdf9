"""The ways to learn from photos: a linear probe, fine-tuning, and fine-tuning once more with val.

Axes: N photos, D embedding, K class.
"""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from lightning.pytorch.loggers import Logger
from torch import nn

from handler.spec import Preprocessing
from training.config import Config
from training.data.photo_set import PhotoSet
from training.evaluation.network_outputs import Predictions
from training.features import embed_split
from training.fit import Fitted, Job, fine_tune
from training.loader import serve_batches
from training.network import build_network, check_sizes
from training.probe import fit_probe, set_classifier


def learn(config: Config, photos: PhotoSet, preprocessing: Preprocessing, tracker: Logger | None) -> Fitted:
    """Return a network that learned from the train photos alone."""
    network = start_network(config, len(photos.labels))
    if config.recipe.method == "probe" or config.recipe.classifier == "probe":
        _probe(network, config, photos, preprocessing)
    if config.recipe.method == "probe":
        return Fitted(network, is_chief=True)
    job = build_job("fit", config, photos, preprocessing, tracker)
    return fine_tune(network, job, config.recipe, config.augment, config.trainer)


def start_network(config: Config, num_classes: int) -> nn.Module:
    """Return the configured network with pretrained weights and a new classifier; raise `NetworkError`."""
    check_sizes(config.network.architecture, config.recipe.start_size, config.recipe.train_size)
    return build_network(
        config.network.architecture,
        config.network.weights,
        num_classes,
        dropout=config.network.dropout,
        drop_path=config.network.drop_path,
    )


def learn_from_val(
    fitted: Fitted, config: Config, photos: PhotoSet, preprocessing: Preprocessing, tracker: Logger | None
) -> Fitted:
    """Return the *fitted* network after some more epochs on train and val together, at a lower rate.

    Val cannot judge the result: its figures are those from before.
    """
    recipe = config.recipe
    again = msgspec.structs.replace(
        recipe,
        epochs=recipe.refit_epochs,
        lr=recipe.lr * recipe.refit_lr_share,
        warmup_epochs=0.0,
        freeze_epochs=0,
        start_size=None,
        patience=0,
        keep="last",
    )
    job = build_job("refit", config, photos, preprocessing, tracker)
    # Another seed, so that it sees other crops than the first epochs did.
    job = replace(job, train=(*job.train, *job.val), seed=config.seed + 1)
    refitted = fine_tune(fitted.network, job, again, config.augment, config.trainer)
    return replace(refitted, epochs=fitted.epochs)


def build_job(name: str, config: Config, photos: PhotoSet, preprocessing: Preprocessing, tracker: Logger | None) -> Job:
    """Return what a fit works on when it trains on the train photos; its checkpoints are called *name*."""
    return Job(
        train=photos.of("train"),
        val=photos.of("val"),
        labels=photos.labels,
        preprocessing=preprocessing,
        folder=Path(config.logs) / config.id,
        name=name,
        seed=config.seed,
        resume=config.resume,
        logger=tracker,
    )


def _probe(network: nn.Module, config: Config, photos: PhotoSet, preprocessing: Preprocessing) -> None:
    """Fit the classifier of *network* to its features, of train photos at each zoom, every second time mirrored."""
    val = _embed(network, "val", config, photos, preprocessing)
    views = [
        _embed(network, "train", config, photos, zoom_in(preprocessing, zoom), mirror=bool(number % 2))
        for number, zoom in enumerate(config.recipe.probe_zooms)
    ]
    embeddings_ND = np.concatenate([view.embeddings_ND for view in views])
    classes_N = np.concatenate([view.classes_N for view in views])
    weights_KD, biases_K = fit_probe(
        embeddings_ND, classes_N, val, num_views=len(views), class_weighting=config.recipe.class_weighting
    )
    set_classifier(network, weights_KD, biases_K)


def zoom_in(preprocessing: Preprocessing, zoom: float) -> Preprocessing:
    """Return *preprocessing* with the share *zoom* of its crop."""
    return msgspec.structs.replace(preprocessing, crop=preprocessing.crop * zoom)


def _embed(
    network: nn.Module,
    split: str,
    config: Config,
    photos: PhotoSet,
    preprocessing: Preprocessing,
    *,
    mirror: bool = False,
) -> Predictions:
    batches = serve_batches(photos.of(split), photos.labels, preprocessing, config.recipe.batch, config.trainer.workers)
    cache = Path(config.data.cache) / "features"
    bfloat16 = config.trainer.precision == "bf16-mixed"
    return embed_split(network, batches, preprocessing, cache, (photos.digest, split), mirror=mirror, bfloat16=bfloat16)
