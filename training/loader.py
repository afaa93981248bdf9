"""Photos on disk to batches: shuffled and augmented for training, as served for evaluation.

Axes: B batch, C channel, H height, W width.
"""

import math
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from handler.decode import decode_photo
from handler.engine import count_cpus
from handler.freed_memory import return_freed_memory
from handler.preprocess import preprocess_photo
from handler.spec import Preprocessing
from training.augment import Augmentation
from training.config import DataConfig
from training.data.inspection import TRAINING_LIMITS
from training.data.photo_set import Photo, PhotoSet
from training.data.sources import load_photos

Example = tuple[Tensor, int]


def load_photo_set(config: DataConfig) -> PhotoSet:
    """Return the configured photos in splits; raise `DataError`."""
    corrections = Path(config.corrections) if config.corrections else None
    cache = Path(config.cache)
    return load_photos(
        config.source, cache=cache, seed=config.seed, val_share=config.val_share, corrections=corrections
    )


class _Photos(Dataset[Example]):
    def __init__(self, photos: Sequence[Photo], labels: Sequence[str]) -> None:
        self._photos = photos
        self._class_indices = {label: index for index, label in enumerate(labels)}

    def __len__(self) -> int:
        return len(self._photos)


class AugmentedPhotos(_Photos):
    """Training examples; the key is (epoch, index), and equal keys give equal pixels."""

    def __init__(
        self, photos: Sequence[Photo], labels: Sequence[str], augmentation: Augmentation, short_side: int, seed: int
    ) -> None:
        super().__init__(photos, labels)
        self._augmentation, self._short_side, self._seed = augmentation, short_side, seed

    def __getitem__(self, key: tuple[int, int]) -> Example:
        """Return a uint8 CHW photo and its class index."""
        photo = self._photos[key[1]]
        image = decode_photo(photo.path.read_bytes(), TRAINING_LIMITS, self._short_side)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self._seed, *key))
            return self._augmentation(image), self._class_indices[photo.label]


class ServedPhotos(_Photos):
    """Examples through the serving preprocessing: uint8 CHW, and the class index."""

    def __init__(self, photos: Sequence[Photo], labels: Sequence[str], preprocessing: Preprocessing) -> None:
        super().__init__(photos, labels)
        self._preprocessing = preprocessing

    def __getitem__(self, index: int) -> Example:
        photo = self._photos[index]
        photo_HWC = preprocess_photo(photo.path.read_bytes(), self._preprocessing, TRAINING_LIMITS)
        return torch.from_numpy(photo_HWC.copy()).permute(2, 0, 1), self._class_indices[photo.label]


class ShuffledShard(Sampler[tuple[int, int]]):
    """One process's share of each epoch: equal in size for all, overlapping with none."""

    def __init__(self, num_photos: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self._num_photos, self._seed, self._rank, self._world = num_photos, seed, rank, world
        self._epoch = self._num_done = 0

    def __len__(self) -> int:
        return self._num_photos // self._world

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of *epoch*; Lightning calls this before each one."""
        self._epoch = epoch

    def skip(self, num_done: int) -> None:
        """Leave out the first *num_done* keys of the next pass only: they were trained before a resume."""
        self._num_done = num_done

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Return keys (epoch, index); the remainder that does not divide evenly is left out of this epoch."""
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._num_photos)
        mine = order[: len(self) * self._world][self._rank :: self._world]
        keys = [(self._epoch, int(index)) for index in mine[self._num_done :]]
        self._num_done = 0
        return iter(keys)


class PhotoData(LightningDataModule):
    """Training and val batches for the trainer, resumable in the middle of an epoch."""

    trainer: Trainer

    def __init__(self, train: AugmentedPhotos, val: ServedPhotos, batch: int, workers: int, seed: int) -> None:
        super().__init__()
        self._train, self._val, self._batch, self._workers, self._seed = train, val, batch, workers, seed
        self._epoch = self._num_batches_done = 0

    def train_dataloader(self) -> DataLoader[Example]:
        shard = ShuffledShard(len(self._train), self._seed, self.trainer.global_rank, self.trainer.world_size)
        batch = min(self._batch, len(shard))
        # Lightning draws the first keys before it sets the epoch of a resumed run.
        shard.set_epoch(self._epoch)
        shard.skip(self._num_batches_done * batch)
        # A last batch of one photo would break the networks' batch norms.
        return _build_loader(self._train, batch, self._workers, sampler=shard, drop_last=True)

    def val_dataloader(self) -> DataLoader[Example]:
        # Every process evaluates all of val: figures are then exact, not padded.
        return _build_loader(self._val, self._batch, self._workers)

    def state_dict(self) -> dict[str, Any]:
        epoch, num_done = self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if num_done >= self.trainer.num_training_batches:
            epoch, num_done = epoch + 1, 0
        return {"epoch": epoch, "num_batches_done": num_done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._epoch, self._num_batches_done = state_dict["epoch"], state_dict["num_batches_done"]


def serve_batches(
    photos: Sequence[Photo], labels: Sequence[str], preprocessing: Preprocessing, batch: int, workers: int = 0
) -> DataLoader[Example]:
    """Return the batches of *photos* in their order, photos_BCHW as they would be served."""
    return _build_loader(ServedPhotos(photos, labels, preprocessing), batch, workers)


def derive_seed(*parts: int) -> int:
    """Return a seed that depends on all *parts*, evenly spread."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def draft_side(size: int, min_area: float) -> int:
    """Return the short side to decode to, so that the smallest random crop still has *size* pixels."""
    return math.ceil(size / math.sqrt(min_area))


def _build_loader(dataset: Dataset[Example], batch: int, workers: int, **options: Any) -> DataLoader[Example]:
    # More than the process may use compute no faster, and PyTorch warns of them.
    workers = min(workers, count_cpus())
    if workers:
        # A forked process keeps a copy of all that its parent changes later, freed memory too: else 8 GB each
        # (EfficientNet-Lite0, batches of 64), after which a machine with 24 GB ran out of memory.
        return_freed_memory()
    return DataLoader(
        dataset,
        batch_size=batch,
        num_workers=workers,
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_leave_ctrl_c_to_the_trainer,
        **options,
    )


def _leave_ctrl_c_to_the_trainer(worker: int) -> None:
    # A terminal sends it to every process, but the running batch needs its loader.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
