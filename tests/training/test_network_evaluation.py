from pathlib import Path

import numpy as np
import pytest
import torch

from handler.photo_statistics import measure_photos
from handler.preprocess import preprocess_photo
from handler.spec import read_spec
from tests.training.pictures import write_image_folder
from tests.training.tiny_runs import run_training
from training.config import EvaluationConfig
from training.data.inspection import TRAINING_LIMITS
from training.data.photo_set import PhotoSet
from training.evaluate_run import evaluate_run, main
from training.evaluation.network_outputs import predict_batches
from training.loader import serve_batches
from training.network import NetworkError, build_network, default_preprocessing
from training.network_evaluation import EvaluationSet, evaluate_network

PREPROCESSING = default_preprocessing("test_efficientnet", size=64, crop=1.0)


def test_a_finished_run_gives_the_figures_that_training_wrote(
    probe_run: Path, photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(probe_run), str(photo_folder), "--cache", str(tmp_path)])

    rows = [[cell.split() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    printed = {name: float(test) for (name, *_), _, (test, *_) in filter(None, rows)}
    assert printed == pytest.approx(read_spec(probe_run).metrics["test"], rel=1e-3)


def test_the_photos_that_a_run_learned_from_are_not_evaluated(tmp_path: Path) -> None:
    folder = write_image_folder(tmp_path / "photos", dict.fromkeys(("apple", "banana", "carrot", "leek"), 10))
    run = run_training(folder, tmp_path, "recipe.method=probe")

    result = evaluate_run(run, str(folder), tmp_path / "data")

    assert {split: len(found.classes_N) for split, found in result.predictions.items()} == {"val": 4}
    assert result.summary["val"] == pytest.approx(read_spec(run).metrics["val"], abs=1e-5)


def test_a_training_that_diverged_is_refused(photo_set: PhotoSet) -> None:
    network = build_network("test_efficientnet", "random", 4)
    torch.nn.init.constant_(dict(network.named_parameters())["classifier.bias"], float("nan"))
    evaluation_set = EvaluationSet({"val": photo_set.of("val")}, photo_set.labels, photo_set.groups, PREPROCESSING)

    with pytest.raises(NetworkError, match=r"recipe\.lr"):
        evaluate_network(network, evaluation_set, EvaluationConfig(precision=0.95, robustness_photos=0))


def test_a_run_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^error: .*nothing.* does not exist"):
        main([str(tmp_path / "nothing"), "photos"])


def test_embeddings_are_what_the_classifier_sees(photo_set: PhotoSet) -> None:
    network = build_network("test_efficientnet", "random", 4)
    photos = photo_set.of("val")

    found = predict_batches(network, serve_batches(photos, photo_set.labels, PREPROCESSING, 3), PREPROCESSING)

    weights = network.state_dict()
    expected_NK = torch.from_numpy(found.embeddings_ND) @ weights["classifier.weight"].T + weights["classifier.bias"]
    assert torch.allclose(torch.from_numpy(found.logits_NK), expected_NK, atol=1e-5)
    assert [photo_set.labels[index] for index in found.classes_N] == [photo.label for photo in photos]
    squares_BHWC = np.stack([preprocess_photo(p.path.read_bytes(), PREPROCESSING, TRAINING_LIMITS) for p in photos])
    served = measure_photos(squares_BHWC)
    assert np.array_equal(found.brightness_N, served.brightness_B)
    assert np.array_equal(found.anisotropy_N, served.anisotropy_B)
