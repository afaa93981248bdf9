import numpy as np
import pytest
import torch
from torch import nn

from training.evaluation.network_outputs import Predictions
from training.linear_probe import fit_classifier, set_classifier
from training.network import NetworkError, build_network


def clusters(num_classes: int, num_photos: int, seed: int) -> Predictions:
    random = np.random.default_rng(seed)
    classes_N = np.arange(num_photos) % num_classes
    centres_KD = np.eye(num_classes, 6) * 5.0 + 3.0
    embeddings_ND = (centres_KD[classes_N] + random.normal(0.0, 1.0, (num_photos, 6))).astype(np.float32)
    nothing = np.zeros(num_photos, np.float32)
    return Predictions(np.zeros((num_photos, num_classes), np.float32), embeddings_ND, classes_N, nothing, nothing)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_a_probe_tells_clusters_apart(num_classes: int) -> None:
    train, val = clusters(num_classes, 120, seed=0), clusters(num_classes, 80, seed=1)

    weights_KD, biases_K = fit_classifier(train.embeddings_ND, train.classes_N, val, class_weighting=True)

    assert weights_KD.shape == (num_classes, 6)
    logits_NK = val.embeddings_ND @ weights_KD.T + biases_K
    assert (logits_NK.argmax(axis=1) == val.classes_N).mean() > 0.95


def test_val_keeps_the_probe_from_overfitting() -> None:
    train, val = clusters(4, 40, seed=0), clusters(4, 200, seed=1)
    random = np.random.default_rng(2)
    shuffled_N = random.permutation(train.classes_N)

    weights_KD, _ = fit_classifier(train.embeddings_ND, shuffled_N, val)
    right_KD, _ = fit_classifier(train.embeddings_ND, train.classes_N, val)

    assert np.linalg.norm(weights_KD) < np.linalg.norm(right_KD)


def test_the_network_answers_with_its_new_classifier() -> None:
    network = build_network("test_efficientnet", "random", 3).eval()
    weights_KD = np.zeros_like(network.state_dict()["classifier.weight"].numpy())

    set_classifier(network, weights_KD, np.array([1.0, 2.0, 3.0]))

    assert network(torch.randn(2, 3, 64, 64)).tolist() == [[1.0, 2.0, 3.0]] * 2


def test_a_network_without_a_linear_classifier_is_refused() -> None:
    network = build_network("test_efficientnet", "random", 3)
    network.classifier = nn.Sequential(nn.Linear(8, 3))

    with pytest.raises(NetworkError, match=r"Sequential.*recipe\.method=finetune"):
        set_classifier(network, np.zeros((3, 8)), np.zeros(3))
