"""The drift reference of an archive: what the model got and answered on val. Axes: N photos, D embedding, K class."""

import zipfile
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handler.engine import Floats
from handler.spec import REFERENCE_FILE, SpecError

STATISTICS = ("confidence", "entropy", "unfamiliarity", "brightness", "contrast", "sharpness", "anisotropy")
"""The numbers of a photo that a reference has."""


@dataclass(frozen=True)
class Histogram:
    """One statistic on val, in bins of about equal share, open at both ends."""

    edges: tuple[float, ...]
    """The inner ones: one fewer than bins."""
    shares: tuple[float, ...]
    samples_N: Floats
    """The values themselves, for the same photos as `embeddings_ND`."""

    def bin(self, value: float) -> int:
        """Return the index of the bin that *value* is in."""
        return bisect_right(self.edges, value)


@dataclass(frozen=True)
class DriftReference:
    num_photos: int
    """Of val: what the shares are of."""
    label_shares_K: Floats
    """By class index, the share of the photos that have it as their first label."""
    train_counts_K: Floats
    """Train photos of each label, the mix that the model is for."""
    histograms: Mapping[str, Histogram]
    """By statistic."""
    embeddings_ND: Floats


def read_drift_reference(folder: Path) -> DriftReference | None:
    """Return that of the run or unpacked archive *folder*, None without one; raise `SpecError` if it is damaged."""
    path = folder / REFERENCE_FILE
    if not path.exists():
        return None
    try:
        # NumPy leaves a file open that it cannot read, if it has opened it.
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {name: np.asarray(array, dtype=np.float32) for name, array in stored.items()}
        return DriftReference(
            num_photos=int(arrays["num_photos"]),
            label_shares_K=arrays["label_shares_K"],
            train_counts_K=arrays["train_counts_K"],
            histograms={name: _read_histogram(arrays, name) for name in STATISTICS},
            embeddings_ND=arrays["embeddings_ND"],
        )
    except (EOFError, KeyError, OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise SpecError(f"{path} cannot be read ({error}); train again, or build the archive again") from error


def _read_histogram(arrays: Mapping[str, Floats], name: str) -> Histogram:
    edges, shares = arrays[f"{name}_edges_E"].tolist(), arrays[f"{name}_shares"].tolist()
    if len(shares) != len(edges) + 1:
        raise ValueError(f"{name} has {len(edges)} edges for {len(shares)} bins")
    return Histogram(tuple(edges), tuple(shares), arrays[f"{name}_N"])
