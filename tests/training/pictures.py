"""Generated photos, as files and in shards: each label has a colour; no two are near-duplicates."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from webdataset import TarWriter  # type: ignore[import-untyped]  # ships no types

from training.data.manifest import write_manifest
from training.data.photo_set import Photo

GROUPS = {"apple": "fruit", "banana": "fruit", "carrot": "vegetable", "leek": "vegetable"}

_COLOURS = {"apple": (220, 40, 40), "banana": (230, 210, 50), "carrot": (240, 130, 30), "leek": (60, 170, 80)}


def draw_photo(label: str, seed: int) -> Image.Image:
    """Return 72x56 pixels in the colour of *label*, with patches of random brightness."""
    patches_HW = np.random.default_rng(seed).uniform(0.3, 1.0, size=(7, 9))
    light_HW = np.kron(patches_HW, np.ones((8, 8)))
    return Image.fromarray((light_HW[:, :, None] * _COLOURS[label]).astype(np.uint8))


def photo_bytes(label: str, seed: int, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    draw_photo(label, seed).save(file, kind, quality=90)
    return file.getvalue()


def write_image_folder(folder: Path, counts: Mapping[str, int], first_seed: int = 0) -> Path:
    """Write *counts* photos for each label into *folder*/<label>/, each from its own seed."""
    seed = first_seed
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (folder / label / f"{seed:03}.jpg").write_bytes(photo_bytes(label, seed))
            seed += 1
    return folder


def write_photo_set(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write *counts* photos of every label for each split, and a manifest of labels, groups and splits."""
    files = []
    for index, (split, count) in enumerate(counts.items()):
        write_image_folder(folder / split, dict.fromkeys(GROUPS, count), first_seed=1000 * index)
        files += [
            Photo(path, path.parent.name, GROUPS[path.parent.name], split)
            for path in sorted((folder / split).rglob("*.jpg"))
        ]
    write_manifest(folder / "labels.csv", files)
    return folder


def write_shard(path: Path, *samples: dict[str, bytes]) -> Path:
    """Write a WebDataset shard at *path*."""
    with TarWriter(str(path)) as shard:
        for index, sample in enumerate(samples):
            shard.write({"__key__": f"sample{index}", **sample})
    return path


def sample(label: str, seed: int) -> dict[str, bytes]:
    return {"jpg": photo_bytes(label, seed), "cls": label.encode()}
