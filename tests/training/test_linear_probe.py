from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import PIL
import pytest
import torch
from torch import nn

from tests.training.tiny_runs import tiny_config
from training.data.photo_set import PhotoSet
from training.evaluation.network_outputs import Features
from training.linear_probe import digest_backbone, embed_split, fit_classifier, fit_linear_probe
from training.network import NetworkError, build_network, default_preprocessing

PREPROCESSING = default_preprocessing("test_efficientnet", size=64, crop=1.0)


def clusters(num_classes: int, num_photos: int, seed: int) -> Features:
    random = np.random.default_rng(seed)
    classes_N = np.arange(num_photos) % num_classes
    centres_KD = np.eye(num_classes, 6) * 5.0 + 3.0
    embeddings_ND = (centres_KD[classes_N] + random.normal(0.0, 1.0, (num_photos, 6))).astype(np.float32)
    return Features(embeddings_ND, classes_N)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_probe_tells_clusters_apart(num_classes: int) -> None:
    train, val = clusters(num_classes, 120, seed=0), clusters(num_classes, 80, seed=1)

    weights_KD, biases_K = fit_classifier([train], val)

    assert weights_KD.shape == (num_classes, 6)
    logits_NK = val.embeddings_ND @ weights_KD.T + biases_K
    assert (logits_NK.argmax(axis=1) == val.classes_N).mean() > 0.95


def test_val_keeps_the_probe_from_overfitting() -> None:
    train, val = clusters(4, 40, seed=0), clusters(4, 200, seed=1)
    shuffled = replace(train, classes_N=np.random.default_rng(2).permutation(train.classes_N))

    weights_KD, _ = fit_classifier([shuffled], val)
    right_KD, _ = fit_classifier([train], val)

    assert np.linalg.norm(weights_KD) < np.linalg.norm(right_KD)


def test_class_weighting_makes_up_for_a_rare_label() -> None:
    noise = clusters(2, 400, seed=0)
    rare = replace(noise, classes_N=np.random.default_rng(1).permutation(np.arange(400) % 10 == 0).astype(np.int64))

    shares = []
    for class_weighting in (False, True):
        weights_KD, biases_K = fit_classifier([rare], rare, class_weighting=class_weighting)
        logits_NK = torch.from_numpy(rare.embeddings_ND @ weights_KD.T + biases_K)
        shares.append(float(logits_NK.softmax(dim=1)[:, 1].mean()))

    assert shares == pytest.approx([0.1, 0.5], abs=0.05)


def test_a_network_without_a_linear_classifier_is_refused(photo_set: PhotoSet, tmp_path: Path) -> None:
    network = build_network("test_efficientnet", "random", 3)
    network.classifier = nn.Sequential(nn.Linear(8, 3))

    with pytest.raises(NetworkError, match=r"test_efficientnet.*recipe\.method=finetune"):
        fit_linear_probe(network, tiny_config(tmp_path, tmp_path), photo_set, PREPROCESSING)


@pytest.mark.parametrize(
    ("architecture", "pillow"), [("test_efficientnet.other", PIL.__version__), ("test_efficientnet", "0.1")]
)
def test_features_of_another_architecture_or_pillow_are_computed_again(
    architecture: str, pillow: str, photo_set: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, network = tiny_config(tmp_path, tmp_path), build_network("test_efficientnet", "random", 4)
    embed_split(network, "val", config, photo_set, PREPROCESSING)
    monkeypatch.setattr(PIL, "__version__", pillow)
    other = msgspec.structs.replace(config.network, architecture=architecture)

    embed_split(network, "val", msgspec.structs.replace(config, network=other), photo_set, PREPROCESSING)

    assert len(list((tmp_path / "data" / "features").iterdir())) == 2


def test_features_are_computed_once_and_mirrored_ones_are_kept_apart(photo_set: PhotoSet, tmp_path: Path) -> None:
    network, config = build_network("test_efficientnet", "random", 4), tiny_config(tmp_path, tmp_path)
    first = embed_split(network, "val", config, photo_set, PREPROCESSING)

    (kept,) = (tmp_path / "data" / "features").rglob("*.npz")
    before = kept.stat().st_mtime_ns
    again = embed_split(network, "val", config, photo_set, PREPROCESSING)
    mirrored = embed_split(network, "val", config, photo_set, PREPROCESSING, mirror=True)

    assert np.array_equal(again.embeddings_ND, first.embeddings_ND)
    assert kept.stat().st_mtime_ns == before
    assert not np.allclose(mirrored.embeddings_ND, first.embeddings_ND)


def test_a_photo_that_another_set_has_is_not_computed_again(photo_set: PhotoSet, tmp_path: Path) -> None:
    network, config = build_network("test_efficientnet", "random", 4), tiny_config(tmp_path, tmp_path)
    apples = replace(photo_set, photos=photo_set.photos[::-1][5:], labels=photo_set.labels[::-1])
    embed_split(network, "train", config, apples, PREPROCESSING)

    features = embed_split(network, "train", config, photo_set, PREPROCESSING)

    counts = sorted(len(np.load(path)["digests_N"]) for path in (tmp_path / "data" / "features").rglob("*.npz"))
    scratch = embed_split(network, "train", tiny_config(tmp_path, tmp_path / "new"), photo_set, PREPROCESSING)
    assert counts == [32 - len(apples.of("train")), len(apples.of("train"))]
    assert np.allclose(features.embeddings_ND, scratch.embeddings_ND, atol=1e-5)
    assert [photo_set.labels[index] for index in features.classes_N] == [one.label for one in photo_set.of("train")]


def test_the_digest_of_a_backbone_sees_its_weights_but_not_the_classifier() -> None:
    network = build_network("test_efficientnet", "random", 4)
    before = digest_backbone(network)

    torch.nn.init.zeros_(dict(network.named_parameters())["classifier.weight"])
    same = digest_backbone(network)
    torch.nn.init.zeros_(dict(network.named_parameters())["conv_stem.weight"])

    assert same == before
    assert digest_backbone(network) != before
