from pathlib import Path

import numpy as np
import pytest

from handler.drift_reference import STATISTICS, read_drift_reference
from handler.familiarity import Familiarity
from training.evaluation.network_outputs import Predictions
from training.evaluation.reference import summarize_reference

FAMILIARITY = Familiarity(np.eye(3, 1, dtype=np.float32), np.array(0.5, np.float32))


def make_predictions(num_photos: int) -> Predictions:
    """Return those of two labels, each with a probability of 0.5, 0.88 or 0.98 for its first one."""
    rng = np.random.default_rng(0)
    logits_NK = np.zeros((num_photos, 2), np.float32)
    logits_NK[:, 0] = np.resize([0.0, 2.0, 4.0], num_photos)
    statistics = [rng.uniform(size=num_photos).astype(np.float32) for _ in range(4)]
    return Predictions(np.eye(num_photos, 3, dtype=np.float32), np.zeros(num_photos, int), logits_NK, *statistics)


def test_what_is_written_is_read_as_the_drift_reference(tmp_path: Path) -> None:
    predictions = make_predictions(num_photos=30)
    np.savez(tmp_path / "reference.npz", **summarize_reference(predictions, [7, 2], 1.0, FAMILIARITY))  # type: ignore[arg-type]  # savez

    reference = read_drift_reference(tmp_path)
    assert reference is not None
    assert set(reference.histograms) == set(STATISTICS)
    assert reference.num_photos == 30
    assert reference.label_shares_K.tolist() == [1.0, 0.0]
    assert reference.train_counts_K.tolist() == [7, 2]
    sharpness = reference.histograms["sharpness"]
    assert np.bincount([sharpness.bin(value) for value in predictions.sharpness_N]) / 30 == pytest.approx(
        sharpness.shares
    )
    samples = {name: histogram.samples_N.tolist()[:3] for name, histogram in reference.histograms.items()}
    assert samples["confidence"] == pytest.approx([0.5, 0.881, 0.982], abs=1e-3)
    assert samples["entropy"] == pytest.approx([1.0, 0.527, 0.130], abs=1e-3)
    assert samples["unfamiliarity"] == [0.0, 2.0, 2.0]


def test_samples_are_of_the_same_photos_as_the_embeddings_and_at_most_512() -> None:
    predictions = make_predictions(num_photos=600)
    predictions.embeddings_ND[:, 2] = predictions.brightness_N

    reference = summarize_reference(predictions, [7, 2], 1.0, FAMILIARITY)

    assert reference["num_photos"] == 600
    assert reference["brightness_N"].shape == (512,)
    assert np.array_equal(reference["brightness_N"], reference["embeddings_ND"][:, 2])
