import os

import msgspec
import pytest
import torch
from PIL import Image

from handler.preprocess import preprocess_photo
from handler.settings import Limits
from training.augment import build_augmentation, build_mixing
from training.config import AugmentConfig
from training.data.photo_set import PhotoSet
from training.loader import AugmentedPhotos, ServedPhotos, ShuffledShard, draft_side, serve_batches
from training.network import default_preprocessing


def make_augment(**changes: float) -> AugmentConfig:
    """Return an augmentation that changes nothing, but for *changes*."""
    names = ("flip", "rand_augment_ops", "rand_augment_magnitude", "erase", "mixup", "cutmix")
    return msgspec.convert({"min_area": 1.0, "mix_share": 1.0, **dict.fromkeys(names, 0), **changes}, AugmentConfig)


STRONG = make_augment(min_area=0.3, flip=0.5, rand_augment_ops=2, rand_augment_magnitude=9, erase=0.5)
PREPROCESSING = default_preprocessing("test_efficientnet", size=48, crop=0.9)


def test_evaluation_sees_what_the_server_would_see(photo_set: PhotoSet) -> None:
    photo = photo_set.of("val")[5]

    pixels_CHW, class_index = ServedPhotos(photo_set.of("val"), photo_set.labels, PREPROCESSING)[5]

    served_HWC = preprocess_photo(photo.path.read_bytes(), PREPROCESSING, Limits())
    assert torch.equal(pixels_CHW, torch.from_numpy(served_HWC.copy()).permute(2, 0, 1))
    assert photo_set.labels[class_index] == photo.label


def test_equal_keys_give_equal_pixels_and_another_epoch_gives_others(photo_set: PhotoSet) -> None:
    augmentation = build_augmentation(STRONG, 48)
    photos = AugmentedPhotos(photo_set.of("train"), photo_set.labels, augmentation, draft_side(48, 0.3), seed=1)

    first, again, next_epoch = (photos[key][0] for key in ((0, 7), (0, 7), (1, 7)))

    assert first.shape == (3, 48, 48)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, next_epoch)


@pytest.mark.parametrize(("workers", "started"), [(0, 0), (1, 1), (8, 1)])
def test_no_more_workers_are_started_than_the_process_may_use_cores(
    workers: int, started: int, photo_set: PhotoSet
) -> None:
    """PyTorch warns of more, and warnings fail a test."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        loader = serve_batches(photo_set.of("val"), photo_set.labels, PREPROCESSING, batch=4, workers=workers)
    finally:
        os.sched_setaffinity(0, cores)

    assert loader.num_workers == started


def test_erasing_covers_a_part_of_the_photo_with_grey() -> None:
    torch.manual_seed(0)

    pixels_CHW = build_augmentation(make_augment(erase=1.0), 48)(Image.new("RGB", (96, 96), (10, 200, 30)))

    assert set(map(tuple, pixels_CHW.flatten(1).T.tolist())) == {(10, 200, 30), (128, 128, 128)}


def test_the_magnitude_decides_how_much_rand_augment_changes(photo_set: PhotoSet) -> None:
    changed = []
    for magnitude in (0, 30):
        augment = make_augment(rand_augment_ops=3, rand_augment_magnitude=magnitude)
        photos = AugmentedPhotos(photo_set.of("train"), photo_set.labels, build_augmentation(augment, 48), 48, seed=1)
        changed.append(torch.stack([photos[(0, index)][0] for index in range(8)]))

    assert not torch.equal(*changed)


def test_the_processes_share_each_epoch_without_overlap() -> None:
    shards = [ShuffledShard(11, seed=3, rank=rank, world=2) for rank in (0, 1)]

    first, second = ({index for _, index in shard} for shard in shards)

    assert len(first) == len(second) == len(shards[0]) == 5
    assert not first & second


def test_each_epoch_has_an_order_of_its_own_and_a_resumed_one_skips_what_was_trained() -> None:
    shard = ShuffledShard(20, seed=3)
    first = list(shard)

    shard.skip(8)
    resumed, whole = list(shard), list(shard)
    shard.set_epoch(1)
    second = list(shard)

    assert (resumed, whole) == (first[8:], first)
    assert sorted(index for _, index in second) == list(range(20))
    assert [index for _, index in first] != [index for _, index in second]
    assert {epoch for epoch, _ in second} == {1}


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_mixed_targets_are_shares_that_sum_to_one(mixup: float, cutmix: float) -> None:
    mix = build_mixing(make_augment(mixup=mixup, cutmix=cutmix), num_classes=3)
    torch.manual_seed(0)

    photos_BCHW, shares_BK = mix(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))

    assert photos_BCHW.shape == (4, 3, 8, 8)
    assert torch.allclose(shares_BK.sum(dim=1), torch.ones(4))
    assert ((shares_BK > 0).sum(dim=1) == 2).any()


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.2, "mix_share": 0.0}])
def test_batches_that_are_not_mixed_keep_their_classes(changes: dict[str, float]) -> None:
    mix = build_mixing(make_augment(**changes), num_classes=3)
    photos_BCHW = torch.rand(2, 3, 8, 8)

    same_BCHW, classes_B = mix(photos_BCHW, torch.tensor([2, 0]))

    assert torch.equal(same_BCHW, photos_BCHW)
    assert classes_B.tolist() == [2, 0]
