from pathlib import Path

import numpy as np
import pytest

from handler.engine import Floats
from handler.familiarity import read_familiarity
from tests.training.tiny_runs import read_metrics
from training.evaluation.decision import Decision
from training.evaluation.network_outputs import Predictions
from training.evaluation.unfamiliarity import fit_familiarity, store_familiarity
from training.network_evaluation import EvaluationResult

NUM_LABELS, WIDTH = 8, 160
CENTRES_KD = np.random.default_rng(0).normal(size=(NUM_LABELS, WIDTH))


def draw(num_photos: int, seed: int) -> Predictions:
    """Return photos whose embeddings are noise around the centre of their label."""
    classes_N = np.arange(num_photos) % NUM_LABELS
    noise_ND = 0.3 * np.random.default_rng(seed).normal(size=(num_photos, WIDTH))
    statistics = [np.zeros(num_photos, dtype=np.float32)] * 4
    embeddings_ND = (CENTRES_KD[classes_N] + noise_ND).astype(np.float32)
    return Predictions(embeddings_ND, classes_N, np.zeros((num_photos, NUM_LABELS), np.float32), *statistics)


def others(num_photos: int) -> Floats:
    return np.random.default_rng(9).normal(size=(num_photos, WIDTH)).astype(np.float32)


def test_a_twentieth_of_val_is_unfamiliar_and_so_is_everything_else() -> None:
    familiarity = fit_familiarity(draw(400, seed=1), val := draw(200, seed=2))

    assert (familiarity.score(val.embeddings_ND) > 1.0).sum() == 10
    assert (familiarity.score(draw(200, seed=3).embeddings_ND) > 1.0).mean() < 0.15
    assert familiarity.score(others(100)).min() > 1.0


def test_stored_statistics_score_as_the_fitted_ones(tmp_path: Path) -> None:
    fitted = fit_familiarity(draw(400, seed=1), draw(200, seed=2))

    np.savez_compressed(tmp_path / "familiarity.npz", allow_pickle=False, **store_familiarity(fitted))

    read = read_familiarity(tmp_path)
    assert read is not None
    assert read.score(others(9)) == pytest.approx(fitted.score(others(9)), rel=1e-6)


def test_one_photo_a_label_and_equal_embeddings_give_finite_scores() -> None:
    single = fit_familiarity(draw(NUM_LABELS, seed=1), draw(20, seed=2))
    equal = draw(20, seed=1)
    equal.embeddings_ND[:] = 1.0

    assert np.isfinite(single.score(others(9))).all()
    assert np.isfinite(fit_familiarity(equal, draw(20, seed=2)).score(others(9))).all()


def test_the_share_of_unfamiliar_photos_is_a_figure_of_every_split() -> None:
    familiarity = fit_familiarity(draw(400, seed=1), val := draw(200, seed=2))
    test = draw(100, seed=3)
    test.embeddings_ND[:50] = others(50)
    figures = {"val": {"summary": {"top1": 0.5}}, "test": {"summary": {"top1": 0.25}, "confusion": []}}

    result = EvaluationResult(Decision(1.0, 0.5), {"val": val, "test": test}, figures, {})

    found = result.with_unfamiliar_shares(familiarity).figures

    assert found["val"] == {"summary": {"top1": 0.5, "unfamiliar_share": 0.05}}
    assert found["test"]["summary"]["unfamiliar_share"] >= 0.5
    assert found["test"]["confusion"] == []


@pytest.mark.parametrize("run", ["probe_run", "trained_run"])
def test_a_run_tells_unfamiliar_photos_and_reports_it(run: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(run)

    familiarity, metrics = read_familiarity(folder), read_metrics(folder)

    assert familiarity is not None
    assert metrics["unfamiliar"] == {"threshold": pytest.approx(float(familiarity.threshold)), "train_photos": 32}
    assert 0 < metrics["splits"]["val"]["summary"]["unfamiliar_share"] <= 0.125  # of eight photos
    assert "of val: a distance over" in (folder / "report.html").read_text()
