import numpy as np

from handler.engine import Floats
from handler.familiarity import normalise
from monitoring.embedding_tests import compare_embeddings

WIDTH = 12


def draw(num_photos: int, seed: int) -> Floats:
    """Return unit embeddings around two directions."""
    rng = np.random.default_rng(seed)
    embeddings_NR = rng.normal(size=(num_photos, WIDTH)) + 4 * np.eye(WIDTH)[rng.integers(2, size=num_photos)]
    return normalise(embeddings_NR.astype(np.float32))


BEFORE = draw(300, seed=0)


def test_embeddings_like_those_of_val_have_not_drifted() -> None:
    found = [one for seed in range(1, 31) for one in compare_embeddings(draw(200, seed), BEFORE)]

    assert len(found) == 60
    assert not any(one.drifted for one in found)


def test_the_direction_that_differs_most_is_named() -> None:
    after_NR = draw(200, seed=1)
    after_NR[:, 5] += 0.3

    found = compare_embeddings(after_NR, BEFORE)

    assert [one.name for one in found] == ["embedding, direction 6"]
    assert found[0].drifted


def test_what_no_single_direction_shows_is_found_by_all_together() -> None:
    rng = np.random.default_rng(1)
    after_NR = draw(200, seed=1)
    # Each coordinate has the values that it had, but of other photos: only what they have in common is lost.
    shuffled_NR = rng.permuted(after_NR, axis=0)
    before = compare_embeddings(after_NR, BEFORE)[1].effect

    after = compare_embeddings(shuffled_NR, BEFORE)[1].effect

    assert after > before + 0.05
