"""How unlike a photo is to those that the network learned from, by its embedding.

Axes: B batch, D embedding, R direction.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handler.engine import Floats
from handler.spec import FAMILIARITY_FILE, SpecError

# An embedding of zeros has no direction.
_MIN_LENGTH = 1e-12


@dataclass(frozen=True)
class Familiarity:
    """The distance of an embedding, scaled to a length of 1, from the subspace of the train photos, over a threshold.

    That is the norm of its residual beside their principal directions (the "Residual" of Wang et al., CVPR 2022).
    docs/decisions/0017 compares it with other distances.
    """

    directions_DR: Floats
    """Orthonormal, in columns."""
    threshold: Floats
    """The distance over which a photo is unfamiliar, a single number in [0, 1]."""

    def score(self, embeddings_BD: Floats) -> Floats:
        """Return the unfamiliarity_B, from 0 on; over 1 a photo is unfamiliar."""
        return self.score_coordinates(self.project(embeddings_BD))

    def project(self, embeddings_BD: Floats) -> Floats:
        """Return the coordinates_BR of the embeddings, scaled to a length of 1, along the directions."""
        return normalise(embeddings_BD) @ self.directions_DR

    def score_coordinates(self, inside_BR: Floats) -> Floats:
        """Return `score` of the embeddings with these coordinates."""
        return np.sqrt(np.maximum(1.0 - (inside_BR**2).sum(axis=1), 0.0)) / self.threshold  # type: ignore[no-any-return]


def normalise(embeddings_BD: Floats) -> Floats:
    """Return the embeddings with a length of 1."""
    lengths_B1 = np.linalg.norm(embeddings_BD, axis=1, keepdims=True)
    return embeddings_BD / np.maximum(lengths_B1, _MIN_LENGTH)  # type: ignore[no-any-return]


def read_familiarity(folder: Path) -> Familiarity | None:
    """Return that of the run or unpacked archive *folder*, None without one; raise `SpecError` if it is damaged."""
    path = folder / FAMILIARITY_FILE
    if not path.exists():
        return None
    try:
        # NumPy leaves a file open that it cannot read, if it has opened it.
        with path.open("rb") as file, np.load(file) as arrays:
            return Familiarity(**{name: array.astype(np.float32) for name, array in arrays.items()})
    except (EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise SpecError(f"{path} cannot be read ({error}); train again, or build the archive again") from error
