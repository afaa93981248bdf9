from pathlib import Path

import numpy as np
import pytest

from handler.engine import Floats
from handler.familiarity import Familiarity, read_familiarity
from handler.spec import SpecError


def floats(values: object) -> Floats:
    return np.array(values, dtype=np.float32)


# Its train photos point along the first two axes.
FAMILIARITY = Familiarity(directions_DR=floats([[1, 0], [0, 1], [0, 0]]), threshold=floats(0.5))


@pytest.mark.parametrize(
    ("embedding", "unfamiliarity"),
    [
        ((1, 0, 0), 0.0),
        ((-7, 7, 0), 0.0),  # its length does not matter
        ((0.6, 0, 0.8), 1.6),
        ((4, 0, 3), 1.2),
        ((0, 0, 4), 2.0),
        ((0, 0, 0), 2.0),
    ],
)
def test_the_score_is_the_distance_from_the_train_photos_over_the_threshold(
    embedding: tuple[float, ...], unfamiliarity: float
) -> None:
    assert FAMILIARITY.score(floats([embedding])) == pytest.approx([unfamiliarity], abs=1e-3)


def test_a_photo_scores_the_same_in_any_batch() -> None:
    embeddings_BD = floats(np.random.default_rng(0).normal(size=(5, 3)))

    alone = [FAMILIARITY.score(embedding_D[None])[0] for embedding_D in embeddings_BD]

    assert FAMILIARITY.score(embeddings_BD) == pytest.approx(alone, rel=1e-5)


def test_a_folder_without_statistics_has_no_familiarity(tmp_path: Path) -> None:
    assert read_familiarity(tmp_path) is None


def test_damaged_statistics_are_named(tmp_path: Path) -> None:
    (tmp_path / "familiarity.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(SpecError, match=r"familiarity\.npz cannot be read .*; train again"):
        read_familiarity(tmp_path)

    np.savez(tmp_path / "familiarity.npz", threshold=np.zeros(()))
    with pytest.raises(SpecError, match=r"familiarity\.npz cannot be read .*directions_DR"):
        read_familiarity(tmp_path)
