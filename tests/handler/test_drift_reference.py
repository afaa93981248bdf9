from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.drift_reference import STATISTICS, read_drift_reference
from handler.spec import SpecError


def write_reference(folder: Path, **changes: Any) -> None:
    arrays: dict[str, Any] = {
        "num_photos": np.array(4),
        "label_shares_K": np.array([0.75, 0.25], dtype=np.float32),
        "train_counts_K": np.array([7, 2]),
        "embeddings_ND": np.array([[1, 0], [0, 1]], dtype=np.float16),
    }
    for name in STATISTICS:
        arrays[f"{name}_edges_E"] = np.array([0.25, 0.5], dtype=np.float32)
        arrays[f"{name}_shares"] = np.array([0.25, 0.25, 0.5], dtype=np.float32)
        arrays[f"{name}_N"] = np.array([0.5, 0.75], dtype=np.float16)
    arrays |= changes
    np.savez(folder / "reference.npz", **{name: array for name, array in arrays.items() if array is not None})


def test_a_folder_without_a_reference_has_none(tmp_path: Path) -> None:
    assert read_drift_reference(tmp_path) is None


@pytest.mark.parametrize(("value", "index"), [(0.0, 0), (0.25, 1), (0.3, 1), (0.5, 2), (9.0, 2)])
def test_a_value_is_in_the_bin_between_its_edges(tmp_path: Path, value: float, index: int) -> None:
    write_reference(tmp_path)

    reference = read_drift_reference(tmp_path)

    assert reference is not None
    assert reference.histograms["confidence"].bin(value) == index


def test_all_that_training_writes_is_read(tmp_path: Path) -> None:
    write_reference(tmp_path)

    reference = read_drift_reference(tmp_path)

    assert reference is not None
    assert list(reference.histograms) == list(STATISTICS)
    assert [histogram.samples_N.tolist() for histogram in reference.histograms.values()] == [[0.5, 0.75]] * 7
    assert reference.num_photos == 4
    assert reference.train_counts_K.tolist() == [7, 2]
    assert reference.label_shares_K.tolist() == [0.75, 0.25]
    assert reference.embeddings_ND.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"train_counts_K": None}, "train_counts_K"),
        ({"sharpness_N": None}, "sharpness_N"),
        ({"confidence_shares": None}, "confidence_shares"),
        ({"confidence_shares": np.ones(2)}, "confidence has 2 edges for 2 bins"),
        ({"num_photos": np.array(["many"])}, "many"),
    ],
)
def test_a_damaged_reference_is_named(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    write_reference(tmp_path, **changes)

    with pytest.raises(SpecError, match=rf"reference\.npz cannot be read \(.*{reason}.*; train again"):
        read_drift_reference(tmp_path)


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "reference.npz").write_bytes(b"PK\x03\x04 broken")

    with pytest.raises(SpecError, match=r"reference\.npz cannot be read"):
        read_drift_reference(tmp_path)
