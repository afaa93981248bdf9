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


def test_batches_keep_the_order_of_the_photos(photo_set: PhotoSet) -> None:
    batches = list(serve_batches(photo_set.of("val"), photo_set.labels, PREPROCESSING, 3))

    assert [len(classes_B) for _, classes_B in batches] == [3, 3, 2]
    classes = torch.cat([torch.as_tensor(classes_B) for _, classes_B in batches])
    assert [photo_set.labels[index] for index in classes] == [photo.label for photo in photo_set.of("val")]


def test_equal_keys_give_equal_pixels_and_another_epoch_gives_others(photo_set: PhotoSet) -> None:
    augmentation = build_augmentation(STRONG, 48)
    photos = AugmentedPhotos(photo_set.of("train"), photo_set.labels, augmentation, draft_side(48, 0.3), seed=1)

    first, again, next_epoch = (photos[key][0] for key in ((0, 7), (0, 7), (1, 7)))

    assert first.shape == (3, 48, 48)
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, next_epoch)


def test_augmenting_does_not_change_the_random_state(photo_set: PhotoSet) -> None:
    photos = AugmentedPhotos(photo_set.of("train"), photo_set.labels, build_augmentation(STRONG, 48), 64, seed=1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    photos[(0, 0)]

    assert torch.equal(torch.rand(3), expected)


def test_no_augmentation_is_a_plain_resize() -> None:
    image = Image.new("RGB", (96, 96), (10, 200, 30))

    pixels_CHW = build_augmentation(make_augment(), 48)(image)

    assert [set(channel.flatten().tolist()) for channel in pixels_CHW] == [{10}, {200}, {30}]


def test_the_processes_share_each_epoch_without_overlap() -> None:
    shards = [ShuffledShard(11, seed=3, rank=rank, world=2) for rank in (0, 1)]

    first, second = ({index for _, index in shard} for shard in shards)

    assert len(first) == len(second) == len(shards[0]) == 5
    assert not first & second


def test_each_epoch_has_an_order_of_its_own_and_equal_seeds_agree() -> None:
    shard, twin = ShuffledShard(20, seed=3), ShuffledShard(20, seed=3)

    first, again = list(shard), list(twin)
    shard.set_epoch(1)
    second = list(shard)

    assert first == again
    assert sorted(index for _, index in second) == list(range(20))
    assert [index for _, index in first] != [index for _, index in second]
    assert {epoch for epoch, _ in second} == {1}


def test_a_resumed_epoch_skips_what_was_trained_and_the_next_is_whole() -> None:
    shard = ShuffledShard(20, seed=3)
    whole = list(shard)

    shard.skip(8)

    assert list(shard) == whole[8:]
    assert list(shard) == whole


def test_small_crops_are_decoded_from_enough_pixels() -> None:
    assert draft_side(224, 0.25) == 448
    assert draft_side(224, 1.0) == 224


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_mixed_targets_are_shares_that_sum_to_one(mixup: float, cutmix: float) -> None:
    mix = build_mixing(make_augment(mixup=mixup, cutmix=cutmix), num_classes=3)
    assert mix is not None
    torch.manual_seed(0)

    photos_BCHW, shares_BK = mix(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]))

    assert photos_BCHW.shape == (4, 3, 8, 8)
    assert torch.allclose(shares_BK.sum(dim=1), torch.ones(4))
    assert ((shares_BK > 0).sum(dim=1) == 2).any()


def test_batches_that_are_not_mixed_keep_their_classes() -> None:
    mix = build_mixing(make_augment(mixup=0.2, mix_share=1e-9), num_classes=3)
    assert mix is not None
    photos_BCHW = torch.rand(2, 3, 8, 8)

    same_BCHW, shares_BK = mix(photos_BCHW, torch.tensor([2, 0]))

    assert torch.equal(same_BCHW, photos_BCHW)
    assert shares_BK.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_without_mixup_and_cutmix_nothing_mixes() -> None:
    assert build_mixing(make_augment(), num_classes=3) is None
