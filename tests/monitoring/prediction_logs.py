"""Logs of photos that were answered, and archives that they are compared with."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from handler.engine import Floats
from handler.observation import Statistics
from handler.prediction_log import LoggedPrediction
from tests.archives import write_archive

LABELS = ("apple", "banana", "carrot", "leek")
START = datetime(2026, 11, 26, 8, tzinfo=UTC)
WIDTH = 6
USUAL = {
    "confidence": 0.9,
    "entropy": 0.2,
    "brightness": 0.5,
    "contrast": 0.2,
    "sharpness": 0.03,
    "anisotropy": 0.5,
    "unfamiliarity": 0.8,
}


def log_photo(
    number: int = 0, label: str = "apple", statistics: Mapping[str, float] = USUAL, **changes: Any
) -> LoggedPrediction:
    """Return the photo *number*, a minute after the one before; *changes* are fields."""
    fields: dict[str, Any] = {
        "schema": 1,
        "id": f"{number}/0",
        "time": (START + timedelta(minutes=number)).isoformat(timespec="milliseconds"),
        "version": "1.1.0",
        "digest": f"{number:064x}",
        "labels": [(label, statistics["confidence"])],
        "confident": True,
        "width": 640,
        "height": 480,
        "bytes": 5000,
        "media_type": "image/jpeg",
        "statistics": Statistics(**statistics),
    }
    return LoggedPrediction(**{**fields, **changes})


def draw_photos(num_photos: int, seed: int, first: int = 0, **shifts: float) -> list[LoggedPrediction]:
    """Return photos like those of val, but with statistics that are moved by *shifts*."""
    rng = np.random.default_rng(seed)
    photos = []
    for number in range(first, first + num_photos):
        statistics = {name: value + shifts.get(name, 0.0) for name, value in _draw_statistics(rng).items()}
        embedding = _draw_coordinates(rng).astype("<f2").tobytes()
        photos.append(log_photo(number, LABELS[rng.integers(len(LABELS))], statistics, embedding=embedding))
    return photos


def write_log(path: Path, photos: Sequence[LoggedPrediction]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(photo) + b"\n" for photo in photos))
    return path


def write_watched_archive(path: Path, labels: Sequence[str] = LABELS) -> Path:
    """Write the archive of 1.1.0 with a drift reference of 300 photos."""
    rng = np.random.default_rng(99)
    rows = [_draw_statistics(rng) for _ in range(300)]
    embeddings_ND = np.array([_draw_coordinates(rng) for _ in rows])
    arrays: dict[str, Any] = {
        "num_photos": np.array(300),
        "label_shares_K": np.full(len(LABELS), 1 / len(LABELS), np.float32),
        "train_counts_K": np.full(len(LABELS), 500),
        "embeddings_ND": embeddings_ND.astype(np.float16),
    }
    for name in rows[0]:
        values_N = np.array([row[name] for row in rows])
        arrays |= {f"{name}_edges_E": np.quantile(values_N, [0.5]), f"{name}_shares": np.array([0.5, 0.5])}
        arrays[f"{name}_N"] = values_N.astype(np.float16)
    write_archive(path, labels=labels, num_outputs=len(labels))
    familiarity = {"directions_DR": np.eye(WIDTH, dtype=np.float16), "threshold": np.float32(0.5)}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("reference.npz", _encode(arrays))
        archive.writestr("familiarity.npz", _encode(familiarity))
    return path


def _draw_statistics(rng: np.random.Generator) -> dict[str, float]:
    confidence = float(rng.beta(8, 2))
    return {
        "confidence": confidence,
        "entropy": 1 - confidence,
        "brightness": float(rng.normal(0.4, 0.08)),
        "contrast": float(rng.normal(0.2, 0.03)),
        "sharpness": float(rng.gamma(4.0, 0.01)),
        "anisotropy": float(rng.normal(0.52, 0.05)),
        "unfamiliarity": 1 - confidence,
    }


def _draw_coordinates(rng: np.random.Generator) -> Floats:
    coordinates_R = rng.normal(size=WIDTH)
    return (coordinates_R / np.linalg.norm(coordinates_R)).astype(np.float32)


def _encode(arrays: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()
