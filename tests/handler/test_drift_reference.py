from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handler.drift_reference import read_drift_reference
from handler.spec import SpecError


def write_reference(folder: Path, **changes: Any) -> None:
    arrays = {
        "num_photos": np.array(4),
        "label_shares_K": np.array([0.75, 0.25], dtype=np.float32),
        "confidence_edges_E": np.array([0.25, 0.5], dtype=np.float32),
        "confidence_shares": np.array([0.25, 0.25, 0.5], dtype=np.float32),
        "embeddings_ND": np.array([[1, 0], [0, 1]], dtype=np.float16),
        **changes,
    }
    np.savez(folder / "reference.npz", **{name: array for name, array in arrays.items() if array is not None})


def test_a_folder_without_a_reference_has_none(tmp_path: Path) -> None:
    assert read_drift_reference(tmp_path) is None


@pytest.mark.parametrize(("value", "index"), [(0.0, 0), (0.25, 1), (0.3, 1), (0.5, 2), (9.0, 2)])
def test_a_value_is_in_the_bin_between_its_edges(tmp_path: Path, value: float, index: int) -> None:
    write_reference(tmp_path)

    reference = read_drift_reference(tmp_path)

    assert reference is not None
    assert reference.bin("confidence", value) == index


def test_statistics_that_an_older_reference_lacks_are_left_out(tmp_path: Path) -> None:
    write_reference(tmp_path)

    reference = read_drift_reference(tmp_path)

    assert reference is not None
    assert set(reference.histograms) == {"confidence"}
    assert reference.histograms["confidence"].samples_N is None
    assert reference.bin("sharpness", 0.5) is None


def test_the_samples_of_a_statistic_are_read(tmp_path: Path) -> None:
    write_reference(tmp_path, confidence_N=np.array([0.5, 0.75], dtype=np.float16))

    reference = read_drift_reference(tmp_path)

    assert reference is not None
    assert np.array_equal(reference.histograms["confidence"].samples_N, [0.5, 0.75])  # type: ignore[arg-type]
    assert reference.num_photos == 4
    assert reference.label_shares_K.tolist() == [0.75, 0.25]
    assert reference.embeddings_ND.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label_shares_K": None}, "label_shares_K"),
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
