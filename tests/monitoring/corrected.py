"""Corrections for tests."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from monitoring.correction import Correction, photo_name
from tests.pictures import draw_waves, encode

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def draw_jpeg(width: int, height: int = 64) -> bytes:
    return encode(draw_waves(width, height), "JPEG")


def correction_of(photo: bytes, label: str = "Banana", **values: Any) -> Correction:
    digest = hashlib.sha256(photo).hexdigest()
    chosen: dict[str, Any] = {"time": NOON, "source": "playground", "answer": "Plum", "version": "2.0.0", **values}
    return Correction(digest=digest, photo=photo_name(digest), label=label, **chosen)


def write_folder(folder: Path, *entries: tuple[Correction, bytes]) -> Path:
    """Write a folder as another program would, photos as they are."""
    (folder / "photos").mkdir(parents=True)
    for correction, photo in entries:
        (folder / correction.photo).write_bytes(photo)
    lines = [msgspec.json.encode(correction) for correction, _ in entries]
    (folder / "corrections.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return folder


def write_csv(folder: Path, rows: str, **photos: bytes) -> str:
    folder.mkdir(exist_ok=True)
    for name, content in photos.items():
        (folder / f"{name}.jpg").write_bytes(content)
    path = folder / "mine.csv"
    path.write_text(rows, encoding="utf-8")
    return str(path)
